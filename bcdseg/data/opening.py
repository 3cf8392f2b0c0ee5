"""A folder or a table on disk, opened as a data set."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from bcdseg.data.dataset import Dataset, check_choice, raise_problems
from bcdseg.data.layouts import LAYOUTS, Layout
from bcdseg.data.layouts.listing import TABLES, Found, Listing
from bcdseg.errors import DatasetError, ImageNotFoundError
from bcdseg.types import Sample


def open_dataset(
    path: str | PathLike[str], layout: str = "auto", *, on_problem: str = "error", resize_masks: bool = False
) -> Dataset:
    """Open a data set: its files are listed and paired, none is decoded. Images are pictures or DICOM.

    Args:
        path: A folder, or a table (CSV, Parquet; Excel for BrEaST).
        layout: ``"auto"`` recognises it; or one of ``"busi"``, ``"class_folders"``, ``"image_mask"``, ``"bus_bra"``,
            ``"breast"``, ``"bus_uclm"``, ``"table"``. The data set says in its ``layout`` and its repr what it was taken for.
        on_problem: ``"error"`` raises one error that lists all missing, empty and unpaired files; ``"skip"`` leaves their
            samples out and keeps the list in ``problems``. ``Dataset.check`` also decodes every file.
        resize_masks: Bring masks of another size than their image to its size when they are read, instead of an error.

    Raises:
        ImageNotFoundError: Nothing is there.
        DatasetError: The layout isn't recognised, or has problems.
    """
    check_choice("layout", layout, ("auto", *LAYOUTS))
    check_choice("on_problem", on_problem, ("error", "skip"))
    listing = _listing(Path(path))
    chosen = LAYOUTS[layout] if layout != "auto" else _recognised(listing)
    found = _without_empty(chosen.read(listing), listing)
    name = listing.table.stem if listing.table else listing.root.resolve().name
    if on_problem == "error":
        raise_problems(name, found.problems)
    if not found.samples:
        raise DatasetError(f"{path}: holds no sample of the layout {chosen.title!r}. {_choices()}", found.problems)
    return Dataset(tuple(found.samples), name, chosen.title, resize_masks, tuple(found.problems))


def _listing(path: Path) -> Listing:
    if path.is_dir():
        return Listing(path)
    if not path.exists():
        raise ImageNotFoundError(f"{path}: no such folder or table. Check the path (the current folder is {Path.cwd()}).")
    if path.suffix.lower() not in TABLES:
        raise DatasetError(f"{path}: is no table. Give a folder, or a table ({', '.join(TABLES)}).")
    return Listing(path.parent, path)


def _recognised(listing: Listing) -> Layout:
    fitting = (name for name, layout in LAYOUTS.items() if layout.recognise(listing))
    first = next(fitting, None)
    if first is None:
        images = len(listing.images)
        raise DatasetError(f"{listing.root}: {images} images, in a layout that isn't recognised. {_choices()}")
    if first == "table" and listing.table is None and (second := next(fitting, None)):
        # The table may hold the truth, or what some model made of the images: only the user knows.
        raise DatasetError(
            f"{listing.root}: holds a table of images, and is laid out as {second!r}. "
            f"Give the path of the table, or layout={second!r} to leave it aside."
        )
    return LAYOUTS[first]


def _choices() -> str:
    known = "; ".join(f"{name!r}: {layout.title}" for name, layout in LAYOUTS.items())
    return f"Name the layout ({known}), or write a table with a column 'image'."


def _without_empty(found: Found, listing: Listing) -> Found:
    """Leave out samples with a file of no bytes; a table that was named says so itself, without listing folders."""
    if found.samples and listing.table is None and listing.empty:
        empty = {listing.path(name) for name in listing.empty}
        found.problems += [
            f"{path}: the file is empty, or a link that leads nowhere"
            for sample in found.samples
            for path in empty.intersection(_files(sample))
        ]
        found.samples = [sample for sample in found.samples if empty.isdisjoint(_files(sample))]
    return found


def _files(sample: Sample) -> tuple[Path, ...]:
    return (sample.image, *sample.masks)
