"""The layout of BUS-UCLM: ``images/ALWI_000.png``, ``masks/ALWI_000.png`` in colour, and ``INFO.csv`` (Image, Label, ...).

The letters before the number identify the patient. In a mask black is normal tissue, green a benign and red a malignant lesion.
Labels come from ``INFO.csv``. A copy without it is read only when the layout is named, with labels from the colours of the masks:
this is the only case in which opening a data set decodes files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bcdseg.data.images import read_image
from bcdseg.data.layouts import image_mask
from bcdseg.data.layouts.listing import FolderListing, Listing, split_path
from bcdseg.data.tables.facts import read_facts
from bcdseg.data.tables.files import column_names, read_rows
from bcdseg.errors import BcdsegError, DatasetError
from bcdseg.types import Fact, Sample

TABLE = "info.csv"
NEEDED = {"image", "label"}
ITS_OWN = {"doppler", "marks", "combined"}
FACTS = {"doppler": "doppler", "marks": "marks"}
DEVICE = "Siemens Acuson S2000"  # of all scans, by the article


def recognise(listing: Listing) -> bool:
    """Return whether the folder contains ``INFO.csv`` with the columns of BUS-UCLM."""
    table = _table(listing)
    columns = {name.lower() for name in column_names(listing.path(table))} if table else set()
    return columns >= NEEDED and not columns.isdisjoint(ITS_OWN)


def read(listing: Listing) -> FolderListing:
    """Read pairs of images and masks, with their labels, patients and facts."""
    found = image_mask.read(listing)
    rows = _rows(listing)
    samples, found.samples = found.samples, []
    for sample in samples:
        stem = split_path(sample.id)[1]
        if rows is not None and stem.lower() not in rows:
            found.problems.append(f"{sample.id}: is not in INFO.csv")
            continue
        try:
            label, facts = (_colour(sample), {}) if rows is None else rows.pop(stem.lower())
        except BcdsegError as error:
            found.problems.append(str(error))
            continue
        group = f"BUS-UCLM {stem.partition('_')[0]}"
        found.samples.append(replace(sample, label=label or None, group=group, facts={"device": DEVICE, **facts}))
    found.problems += [f"{stem}: is in INFO.csv, but its image or mask is missing" for stem in rows or ()]
    return found


def _rows(listing: Listing) -> dict[str, tuple[str, Mapping[str, Fact]]] | None:
    """Return the label and the facts of each image, or None without a table."""
    table = _table(listing)
    if table is None:
        return None
    rows = read_rows(listing.path(table))
    if not rows or not rows[0].keys() >= NEEDED:
        raise DatasetError(f"{table}: needs the columns {', '.join(sorted(NEEDED))}, as in the released table.")
    return {
        row["image"].lower().removesuffix(".png"): (row["label"].lower(), facts)
        for row, facts in zip(rows, read_facts(rows, FACTS, table), strict=True)
    }


def _table(listing: Listing) -> str | None:
    return next((path for path in listing.tables if path.lower().rpartition("/")[2] == TABLE), None)


def _colour(sample: Sample) -> str:
    """Return the label that the mask's colours stand for: malignant if a pixel is red, else benign if one is green, else normal."""
    malignant = benign = False
    for path in sample.files[1:]:
        pixels = read_image(path)
        if pixels.ndim == 3:
            red, green = pixels[..., 0].astype(int), pixels[..., 1].astype(int)
            malignant |= bool((red - green > 64).any())
            benign |= bool((green - red > 64).any())
    return "malignant" if malignant else "benign" if benign else "normal"
