"""The layout of BUS-UCLM: ``images/ALWI_000.png``, ``masks/ALWI_000.png`` in colour, and ``INFO.csv`` (Image, Label, ...).

The letters before the number identify the patient. In a mask black is normal tissue, green a benign and red a malignant lesion.
Labels come from ``INFO.csv``. A copy without it is read only when the layout is named, with labels from the colours of the masks:
this is the only case in which opening a data set decodes files.
"""

from __future__ import annotations

from dataclasses import replace

from bcdseg.data.images import read_image
from bcdseg.data.layouts import image_mask
from bcdseg.data.layouts.listing import FolderListing, Listing, split_path
from bcdseg.data.layouts.table import columns, read_rows
from bcdseg.errors import BcdsegError
from bcdseg.types import Sample

TABLE = "info.csv"


def recognise(listing: Listing) -> bool:
    """Return whether the folder contains ``INFO.csv`` with the columns of BUS-UCLM."""
    table = _table(listing)
    return table is not None and columns(listing.path(table)) >= {"image", "label"}


def read(listing: Listing) -> FolderListing:
    """Read pairs of images and masks, with their labels and patients."""
    found = image_mask.read(listing)
    table = _table(listing)
    labels = {_stem(row["image"]): row["label"].lower() for row in read_rows(listing.path(table))} if table else None
    samples, found.samples = found.samples, []
    for sample in samples:
        stem = split_path(sample.id)[1]
        if labels is not None and stem.lower() not in labels:
            found.problems.append(f"{sample.id}: is not in INFO.csv")
            continue
        try:
            label = _colour(sample) if labels is None else labels.pop(stem.lower())
        except BcdsegError as error:
            found.problems.append(str(error))
            continue
        found.samples.append(replace(sample, label=label or None, group=f"BUS-UCLM {stem.partition('_')[0]}"))
    found.problems += [f"{stem}: is in INFO.csv, but its image or mask is missing" for stem in labels or ()]
    return found


def _table(listing: Listing) -> str | None:
    return next((path for path in listing.tables if path.lower().rpartition("/")[2] == TABLE), None)


def _stem(name: str) -> str:
    return name.lower().removesuffix(".png")


def _colour(sample: Sample) -> str:
    """Return the label that the mask's colours stand for: malignant if a pixel is red, else benign if one is green, else normal."""
    malignant = benign = False
    for path in sample.masks:
        pixels = read_image(path)
        if pixels.ndim == 3:
            red, green = pixels[..., 0].astype(int), pixels[..., 1].astype(int)
            malignant |= bool((red - green > 64).any())
            benign |= bool((green - red > 64).any())
    return "malignant" if malignant else "benign" if benign else "normal"
