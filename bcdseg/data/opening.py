"""Data sets opened from folders and tables, and combined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path

from bcdseg.data.dataset import Dataset, check_choice, raise_problems
from bcdseg.data.layouts import LAYOUTS, Layout
from bcdseg.data.layouts.listing import TABLES, FolderListing, Listing
from bcdseg.errors import DatasetError, ImageNotFoundError, OptionError
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


def _without_empty(found: FolderListing, listing: Listing) -> FolderListing:
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


def combine(*datasets: Dataset, class_map: Mapping[str, str | None] | None = None) -> Dataset:
    """Join data sets.

    Ids and groups get the name of their data set in front, so that patient 1 of one is not patient 1 of another.

    Args:
        datasets: Two or more.
        class_map: Label as it is -> class in the joined set; None leaves samples of that label out.
            Labels that are not named stay as they are.

    Raises:
        OptionError: Fewer than two data sets, or the map names a label that none of them has.
    """
    if len(datasets) < 2:
        raise OptionError(f"combine needs two data sets or more; {len(datasets)} given.")
    classes = dict(class_map or {})
    labels = {label for dataset in datasets for label in dataset.classes}
    unknown = sorted(classes.keys() - labels)
    if unknown:
        raise OptionError(f"class_map: no sample is labelled {unknown[0]!r}. The labels are {', '.join(sorted(labels))}.")
    samples = []
    for name, dataset in zip(_distinct([one.name for one in datasets]), datasets, strict=True):
        samples += [_renamed(sample, name, classes) for sample in dataset if classes.get(sample.label or "", "kept") is not None]
    return Dataset(
        samples=tuple(samples),
        name=" + ".join(dataset.name for dataset in datasets),
        layout="combined",
        resize_masks=any(dataset.resize_masks for dataset in datasets),
        problems=tuple(problem for dataset in datasets for problem in dataset.problems),
    )


def _renamed(sample: Sample, name: str, classes: Mapping[str, str | None]) -> Sample:
    return replace(
        sample,
        id=f"{name}/{sample.id}",
        label=None if sample.label is None else classes.get(sample.label, sample.label),
        group=None if sample.group is None else f"{name}/{sample.group}",
    )


def _distinct(names: list[str]) -> list[str]:
    """The names, numbered where two data sets have the same."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return distinct
