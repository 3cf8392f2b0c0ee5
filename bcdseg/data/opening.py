"""Functions that open data sets from folders and tables, and combine them."""

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
    """Open a data set: list and pair its files, without decoding them.

    Images may be DICOM or files of another image format.

    Args:
        path: A folder, or a table (CSV, Parquet; Excel for BrEaST).
        layout: ``"auto"`` to recognise the layout, or one of ``"busi"``, ``"class_folders"``, ``"image_mask"``, ``"bus_bra"``,
            ``"breast"``, ``"bus_uclm"``, ``"table"``. The data set's ``layout`` and repr show which one was used.
        on_problem: ``"error"`` raises one error that lists all missing, empty and unpaired files; ``"skip"`` leaves their samples
            out and keeps the list in ``problems``. ``Dataset.check`` also decodes every file.
        resize_masks: Whether to resize masks whose size differs from their image's when they are read, instead of raising an error.

    Raises:
        ImageNotFoundError: The path does not exist.
        DatasetError: The layout isn't recognised, or the data set has problems.
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
        # The table may contain the ground truth or a model's predictions: only the user knows.
        raise DatasetError(
            f"{listing.root}: holds a table of images, and is laid out as {second!r}. "
            f"Give the path of the table, or layout={second!r} to leave it aside."
        )
    return LAYOUTS[first]


def _choices() -> str:
    known = "; ".join(f"{name!r}: {layout.title}" for name, layout in LAYOUTS.items())
    return f"Name the layout ({known}), or write a table with a column 'image'."


def _without_empty(found: FolderListing, listing: Listing) -> FolderListing:
    """Remove samples with empty files; a table that the user named reports them itself, without a folder listing."""
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
    """Combine data sets into one.

    The name of its data set is put in front of each id and group, so that patient 1 of one data set is not patient 1 of another.

    Args:
        datasets: Two or more data sets.
        class_map: Mapping from labels to classes of the combined data set; None removes the samples with that label. Labels that
            are not in the mapping stay as they are.

    Raises:
        OptionError: There are fewer than two data sets, or the mapping names a label that none of them has.
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
    """Return the names, with a number appended to each repeated one."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return distinct
