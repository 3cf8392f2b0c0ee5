"""The layout of BrEaST (Breast-Lesions-USG): ``case001.png``, ``case001_tumor.png`` and a clinical table as xlsx or CSV.

Masks of other findings (``case001_other1.png``) are left out because they are not lesions. The table's ``Pixel_size`` is left out
too because the table doesn't state its unit.
"""

from __future__ import annotations

from bcdseg.data.layouts.listing import FolderListing, Listing
from bcdseg.data.tables.facts import read_facts
from bcdseg.data.tables.files import column_names, read_rows
from bcdseg.errors import DatasetError
from bcdseg.types import Sample

NEEDED = {"caseid", "image_filename", "mask_tumor_filename", "classification"}
FACTS = {
    "histology": "diagnosis",
    **{
        name: name
        for name in (
            *("age", "birads", "calcifications", "echogenicity", "halo", "margin", "posterior_features", "shape", "signs"),
            *("skin_thickening", "symptoms", "tissue_composition", "verification"),
        )
    },
}


def recognise(listing: Listing) -> bool:
    """Return whether a table has the columns of the clinical data, or an Excel file has its name."""
    return _table(listing) is not None


def read(listing: Listing) -> FolderListing:
    """Read samples with Classification as the label, CaseID as the patient, and the facts of the table.

    Masks of several tumours are merged.
    """
    table = _table(listing)
    if table is None:
        raise DatasetError(f"{listing.root}: has no table of clinical data, which BrEaST is released with. Put it in this folder.")
    rows = read_rows(listing.path(table))
    if not rows or not rows[0].keys() >= NEEDED:
        raise DatasetError(f"{table}: needs the columns {', '.join(sorted(NEEDED))}, as in the released table.")
    files = {path.lower().rpartition("/")[2]: path for path in listing.images}
    found = FolderListing()
    for row, facts in zip(rows, read_facts(rows, FACTS, table), strict=True):
        names = [row["image_filename"], *(name.strip() for name in row["mask_tumor_filename"].split("&") if name.strip())]
        missing = [name for name in names if name.lower() not in files]
        if missing:
            found.problems += [f"{name}: is in {table}, but there is no such file" for name in missing]
            continue
        image, *masks = (files[name.lower()] for name in names)
        found.samples.append(
            Sample(
                id=image,
                image=listing.path(image),
                masks=tuple(map(listing.path, masks)),
                label=row["classification"].lower() or None,
                group=f"BrEaST case {row['caseid']}",
                facts=facts,
            )
        )
    return found


def _table(listing: Listing) -> str | None:
    for path in listing.tables:
        name = path.lower().rpartition("/")[2]
        clinical_excel = name.endswith(".xlsx") and "breast" in name and "clinical" in name
        if clinical_excel or {column.lower() for column in column_names(listing.path(path))} >= NEEDED:
            return path
    return None
