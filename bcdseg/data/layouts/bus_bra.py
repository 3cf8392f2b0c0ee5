"""The layout of BUS-BRA: ``Images/bus_0001-l.png``, ``Masks/mask_0001-l.png`` and ``bus_data.csv`` (ID, Case, Pathology, ...)."""

from __future__ import annotations

from bcdseg.data.layouts.listing import FolderListing, Listing
from bcdseg.data.layouts.table import read_rows
from bcdseg.errors import DatasetError
from bcdseg.types import Sample

TABLE = "bus_data.csv"


def recognise(listing: Listing) -> bool:
    """Return whether the folder contains ``bus_data.csv``."""
    return _table(listing) is not None


def read(listing: Listing) -> FolderListing:
    """Read samples with Pathology as the label and Case as the patient."""
    table = _table(listing)
    if table is None:
        raise DatasetError(f"{listing.root}: has no {TABLE}, which BUS-BRA is released with.")
    files = {path.lower(): path for path in listing.images}
    folder = table.rpartition("/")[0].lower()
    folder = f"{folder}/" if folder else ""
    found = FolderListing()
    for row in read_rows(listing.path(table)):
        name = row["id"].lower().removesuffix(".png")
        image = files.pop(f"{folder}images/{name}.png", None)
        mask = files.pop(f"{folder}masks/{name.replace('bus_', 'mask_')}.png", None)
        if image and mask:
            found.samples.append(
                Sample(
                    id=image,
                    image=listing.path(image),
                    masks=(listing.path(mask),),
                    label=row.get("pathology", "").lower() or None,
                    group=f"BUS-BRA case {row['case']}" if row.get("case") else None,
                )
            )
        else:
            missing = " and ".join(what for what, path in (("image", image), ("mask", mask)) if path is None)
            found.problems.append(f"{row['id']}: is in {TABLE}, but its {missing} is missing")
    found.problems += [f"{path}: is not in {TABLE}" for path in files.values() if path.lower().startswith(f"{folder}images/")]
    return found


def _table(listing: Listing) -> str | None:
    return next((path for path in listing.tables if path.lower().rpartition("/")[2] == TABLE), None)
