"""The layout of BUS-BRA: ``Images/bus_0001-l.png``, ``Masks/mask_0001-l.png`` and ``bus_data.csv`` (ID, Case, Pathology, ...)."""

from __future__ import annotations

from bcdseg.data.layouts.listing import FolderListing, Listing
from bcdseg.data.tables.facts import read_facts
from bcdseg.data.tables.files import column_names, read_rows
from bcdseg.errors import DatasetError
from bcdseg.types import Sample

TABLE = "bus_data.csv"
NEEDED = {"id", "case", "pathology"}
FACTS = {name: name for name in ("histology", "birads", "device", "side")}


def recognise(listing: Listing) -> bool:
    """Return whether the folder contains ``bus_data.csv``, or the user named such a table with the columns of BUS-BRA."""
    table = _table(listing)
    if table is None or listing.table is None:
        return table is not None
    return {name.lower() for name in column_names(listing.path(table))} >= NEEDED


def read(listing: Listing) -> FolderListing:
    """Read samples with Pathology as the label, Case as the patient, and the facts of the table."""
    table = _table(listing)
    if table is None:
        raise DatasetError(f"{listing.root}: has no {TABLE}, which BUS-BRA is released with.")
    files = {path.lower(): path for path in listing.images}
    folder = table.rpartition("/")[0].lower()
    folder = f"{folder}/" if folder else ""
    found = FolderListing()
    rows = read_rows(listing.path(table))
    if not rows or not rows[0].keys() >= NEEDED:
        raise DatasetError(f"{table}: needs the columns {', '.join(sorted(NEEDED))}, as in the released table.")
    for row, facts in zip(rows, read_facts(rows, FACTS, table), strict=True):
        name = row["id"].lower().removesuffix(".png")
        image = files.pop(f"{folder}images/{name}.png", None)
        mask = files.pop(f"{folder}masks/{name.replace('bus_', 'mask_')}.png", None)
        if image and mask:
            found.samples.append(
                Sample(
                    id=image,
                    image=listing.path(image),
                    masks=(listing.path(mask),),
                    label=row["pathology"].lower() or None,
                    group=f"BUS-BRA case {row['case']}" if row["case"] else None,
                    facts=facts,
                )
            )
        else:
            missing = " and ".join(what for what, path in (("image", image), ("mask", mask)) if path is None)
            found.problems.append(f"{row['id']}: is in {TABLE}, but its {missing} is missing")
    found.problems += [f"{path}: is not in {TABLE}" for path in files.values() if path.lower().startswith(f"{folder}images/")]
    return found


def _table(listing: Listing) -> str | None:
    return next((path for path in listing.tables if path.lower().rpartition("/")[2] == TABLE), None)
