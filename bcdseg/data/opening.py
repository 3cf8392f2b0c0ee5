"""Functions that open data sets from folders, tables and objects in memory, and combine them."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from bcdseg.data.annotations import coco, cvat, labelme, nnunet, yolo
from bcdseg.data.annotations.nifti import with_header_spacing
from bcdseg.data.annotations.samples import IMAGE_FOLDER
from bcdseg.data.dataset import Dataset
from bcdseg.data.labels import ClassMap, map_samples, unify_spellings
from bcdseg.data.layouts import LAYOUTS as FILE_LAYOUTS
from bcdseg.data.layouts import Layout
from bcdseg.data.layouts.listing import ANNOTATION_SUFFIXES, FolderListing, Listing
from bcdseg.data.layouts.shared_stems import equal_folders
from bcdseg.data.layouts.table import read_samples
from bcdseg.data.tables.arrays import ArrayFiles, store_arrays
from bcdseg.data.tables.facts import with_header_facts
from bcdseg.data.tables.files import SUFFIXES, memory_table
from bcdseg.errors import DatasetError, DataWarning, ImageNotFoundError, OptionError
from bcdseg.messages import check_choice, name_some, raise_problems, warn_caller
from bcdseg.registry import LAYOUTS as REGISTERED_LAYOUTS
from bcdseg.types import Sample, as_text

ANNOTATION_LAYOUTS = {
    "nnunet": Layout("nnU-Net", nnunet.recognise, nnunet.read),
    "coco": Layout("COCO", coco.recognise, coco.read),
    "cvat": Layout("CVAT for images", cvat.recognise, cvat.read),
    "labelme": Layout("LabelMe", labelme.recognise, labelme.read),
    "yolo": Layout("YOLO segmentation", yolo.recognise, yolo.read),
}
"""Layouts of annotation formats by name, in the order in which ``"auto"`` tries them."""

TABLE_LAYOUTS = ("table", "bus_bra", "bus_uclm", "breast")
ANNOTATION_FOLDERS = ("annotations", "labels")
MASK_LAYOUTS = ("busi", "image_mask")
LAYOUTS = {name: FILE_LAYOUTS[name] for name in TABLE_LAYOUTS[1:] + TABLE_LAYOUTS[:1]} | ANNOTATION_LAYOUTS | FILE_LAYOUTS
"""The library's own layouts by name, in the order in which ``"auto"`` tries them."""

for _name, _layout in LAYOUTS.items():
    REGISTERED_LAYOUTS.register(_name)(_layout)


def all_layouts() -> dict[str, Layout]:
    """Return all layouts by name, in the order in which ``"auto"`` tries them: those that others have registered come first."""
    return {name: layout for name, layout in REGISTERED_LAYOUTS.items() if name not in LAYOUTS} | LAYOUTS


def open_dataset(
    source: str | PathLike[str] | Any,
    layout: str = "auto",
    *,
    columns: Mapping[str, str | None] | None = None,
    class_map: ClassMap | None = None,
    root: str | PathLike[str] | None = None,
    name: str | None = None,
    on_problem: str = "error",
    resize_masks: bool = False,
) -> Dataset:
    """Open a data set: list and pair its files, without decoding them.

    Images may be DICOM, ``.npy``, or files of another image format. A ``DataWarning`` names what is not used: a table, a column,
    images in other folders.

    Args:
        source: A folder; a table (CSV, TSV, Parquet, Excel); an annotation file (JSON, XML, YAML); or a table in memory: a
            DataFrame of pandas or Polars, a list of dicts, a dict of columns, or a map-style data set whose items are dicts. Its
            images and masks are paths, arrays, tensors or PIL images; arrays are stored in a temporary folder until the program
            exits.
        layout: ``"auto"`` to recognise the layout, or one of ``"busi"``, ``"class_folders"``, ``"image_mask"``, ``"bus_bra"``,
            ``"breast"``, ``"bus_uclm"``, ``"table"``, ``"nnunet"``, ``"coco"``, ``"cvat"``, ``"labelme"``, ``"yolo"``, or a
            registered name. The data set's ``layout`` and repr show which one was used.
        columns: Columns of a table by field: ``image``, ``mask``, ``label``, ``group``, ``split``, ``spacing``,
            ``id``, a fact such as ``age``, or ``fact:NAME``. None leaves a field out. Common names of columns are recognised.
        class_map: Mapping from labels to classes; None removes the samples with that label. Labels that are not in the mapping
            stay as they are.
        root: Folder that the relative paths of a table start at; by default the table's folder, or the current one.
        name: Name of the data set; by default that of the folder or the table.
        on_problem: ``"error"`` raises one error that lists all missing, empty and unpaired files; ``"skip"`` leaves their samples
            out and keeps the list in ``problems``. ``Dataset.check`` also decodes every file.
        resize_masks: Whether to resize masks whose size differs from their image's when they are read, instead of raising an error.

    Raises:
        ImageNotFoundError: The path does not exist.
        DatasetError: The layout isn't recognised, a table is damaged or has no column of images, or the data set has problems.
        OptionError: An option has an unknown value, or a mapping names an unknown field or label.

    Example:
        >>> data = open_dataset("scans.csv", columns={"image": "file", "label": "finding"}, class_map={"Cancer": "malignant"})
    """  # fmt: skip
    layouts = all_layouts()
    check_choice("layout", layout, ("auto", *layouts))
    check_choice("on_problem", on_problem, ("error", "skip"))
    given, labels = dict(columns or {}), frozenset(map(as_text, class_map or {}))
    if isinstance(source, (str, PathLike)):
        listing = replace(_listing(Path(source), None if root is None else Path(root), given), labels=labels)
        chosen = layouts[layout] if layout != "auto" else _recognised(listing, layouts)
        _check_used(listing, chosen, given, automatic=layout == "auto" and listing.annotation is None)
        with _collection_paused():
            found = _without_empty(chosen.read(listing), listing)
        own_name, title = listing.table.stem if listing.table else listing.root.resolve().name, chosen.title
    else:
        listing = Listing(Path(root or "."), columns=given, labels=labels)
        found, own_name, title = _from_memory(source, layout, listing, name)
    name = name or own_name
    if on_problem == "error":
        raise_problems(name, found.problems)
    if not found.samples:
        raise DatasetError(f"{name}: has no sample of the layout {title!r}. {_choices()}", found.problems)
    samples = with_header_spacing(with_header_facts(found.samples))
    if class_map:
        samples = map_samples(samples, class_map)
    return Dataset(tuple(unify_spellings(samples, name)), name, title, resize_masks, tuple(found.problems))


def combine(*datasets: Dataset | Iterable[Dataset], class_map: ClassMap | None = None) -> Dataset:
    """Combine data sets into one.

    The name of its data set is put in front of each id and group, so that patient 1 of one data set is not patient 1 of another.
    It is also the fact ``dataset`` of each sample.

    Args:
        datasets: Two or more data sets, or one list of them.
        class_map: Mapping from labels to classes of the combined data set; None removes the samples with that label. Labels that
            are not in the mapping stay as they are.

    Raises:
        OptionError: There are fewer than two data sets, an argument is not a data set, or the mapping names a label that none of
            them has.
    """
    given: list[Any] = []
    for one in datasets:
        given += [one] if isinstance(one, (Dataset, str)) or not isinstance(one, Iterable) else one
    parts = [part for part in given if isinstance(part, Dataset)]
    if len(parts) < len(given):
        wrong = next(part for part in given if not isinstance(part, Dataset))
        raise OptionError(f"{wrong!r} is not a data set. Open each one with bcdseg.open_dataset, then combine them.")
    if len(parts) < 2:
        raise OptionError(f"combine needs two data sets or more; {len(parts)} given.")
    samples = [
        _renamed(sample, name)
        for name, dataset in zip(_distinct([one.name for one in parts]), parts, strict=True)
        for sample in dataset
    ]
    name = " + ".join(dataset.name for dataset in parts)
    return Dataset(
        samples=tuple(unify_spellings(map_samples(samples, class_map or {}), name)),
        name=name,
        layout="combined",
        resize_masks=any(dataset.resize_masks for dataset in parts),
        problems=tuple(problem for dataset in parts for problem in dataset.problems),
    )


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Pause the garbage collector: samples are in no reference cycles, and it would visit all of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _listing(path: Path, root: Path | None, columns: Mapping[str, str | None]) -> Listing:
    if path.is_dir():
        if root is not None:
            raise OptionError(f"root={str(root)!r}: is for tables; {path} is a folder.")
        return Listing(path)
    if not path.exists():
        raise ImageNotFoundError(f"{path}: no such folder or table. Check the path (the current folder is {Path.cwd()}).")
    if path.suffix.lower() in ANNOTATION_SUFFIXES:
        return Listing(path.parent.parent if path.parent.name.lower() in ANNOTATION_FOLDERS else path.parent, annotation=path)
    if path.suffix.lower() not in SUFFIXES:
        raise DatasetError(
            f"{path}: is not a table. Give a folder, a table ({', '.join(SUFFIXES)}), or an annotation file "
            f"({', '.join(ANNOTATION_SUFFIXES)})."
        )
    return Listing(path.parent if root is None else root, path, columns)


def _recognised(listing: Listing, layouts: Mapping[str, Layout]) -> Layout:
    names = TABLE_LAYOUTS[1:] + TABLE_LAYOUTS[:1] if listing.table else tuple(layouts)
    names = tuple(ANNOTATION_LAYOUTS) if listing.annotation else names
    fitting = (name for name in names if layouts[name].recognise(listing))
    first = next(fitting, None)
    if first is None:
        raise DatasetError(f"{listing.root}: {len(listing.images)} images, in a layout that isn't recognised. {_hint(listing)}")
    if first == "table" and listing.table is None and (second := next(fitting, None)):
        # The table may contain the ground truth or a model's predictions, so the user has to choose.
        raise DatasetError(
            f"{listing.root}: contains a table of images, and has the layout {second!r}. "
            f"Give the path of the table, or layout={second!r} to leave it out."
        )
    if listing.annotation is None and (second := _folder_layout_too(first, listing)):
        # The annotations may be the ground truth, or predictions that were written into the folder, so the user has to choose.
        raise DatasetError(
            f"{listing.root}: contains annotations of the layout {first!r}, and has the layout {second!r}. "
            f"Choose one: layout={second!r}, or layout={first!r}."
        )
    return layouts[first]


def _folder_layout_too(annotations: str, listing: Listing) -> str | None:
    """Return the layout of folders that a folder with annotations has too, or None. nnU-Net's own folders are one layout."""
    if annotations not in ANNOTATION_LAYOUTS or annotations == "nnunet":
        return None
    masked = next((name for name in MASK_LAYOUTS if FILE_LAYOUTS[name].recognise(listing)), None)
    if masked or annotations != "coco":
        return masked
    # Annotation tools put the images into a folder of that name, so its folders are not the data set's classes.
    in_classes = not any(IMAGE_FOLDER in name.lower().split("/") for name in listing.images)
    return "class_folders" if in_classes and FILE_LAYOUTS["class_folders"].recognise(listing) else None


def _hint(listing: Listing) -> str:
    if listing.other_images:
        return f"Convert images of formats that aren't read to PNG: {name_some(listing.other_images)}. {_choices()}"
    same = equal_folders(listing)
    if same is None:
        return _choices()
    return (
        f"The folders {same[0]!r} and {same[1]!r} contain files of the same names, so they are not read as classes. Images and "
        "masks: name the folders images/ and masks/. Classes: layout='class_folders'. Else: write a table with a column 'image'."
    )


def _choices() -> str:
    known = "; ".join(f"{name!r}: {layout.title}" for name, layout in all_layouts().items())
    return f"Name the layout ({known}), or write a table with a column 'image'."


def _check_used(listing: Listing, chosen: Layout, columns: Mapping[str, str | None], automatic: bool) -> None:
    """Raise an error for a table or columns that the layout doesn't use, and warn of unused tables where it was ``automatic``."""
    name = next(name for name, layout in all_layouts().items() if layout is chosen)
    if listing.table and name not in TABLE_LAYOUTS:
        raise OptionError(f"layout={name!r}: is a layout of folders, and {listing.table} is a table. Leave the layout out.")
    if columns and name != "table":
        raise OptionError(
            f"columns: is for tables of your own; {listing.table or listing.root} has the layout {name!r}. "
            "Give the path of the table, or layout='table'."
        )
    if automatic and name not in TABLE_LAYOUTS and listing.tables:
        message = (
            f"{listing.root}: tables that aren't used: {name_some(listing.tables)}. "
            "To open a table, give its path in place of the folder's."
        )
        warn_caller(message, DataWarning)
    if automatic and listing.table is None and listing.clips:
        message = f"{listing.root}: video clips that aren't used: {name_some(listing.clips)}. "
        warn_caller(f"{message}bcdseg.extract_frames writes their frames as images.", DataWarning)
    if listing.table is None and listing.annotation is None and listing.other_images:
        message = f"{listing.root}: images of formats that aren't read: {name_some(listing.other_images)}. Convert them to PNG."
        warn_caller(message, DataWarning)


def _from_memory(source: Any, layout: str, listing: Listing, name: str | None) -> tuple[FolderListing, str, str]:
    """Return the samples of a table in memory, a name for it, and its layout."""
    files = ArrayFiles(listing.columns)
    table = memory_table(source, files.stored_item, name or f"{type(source).__name__} in memory")
    if table is None:
        raise OptionError(
            f"source={type(source).__name__}: is neither a folder nor a table. Give a path, a DataFrame, a list of dicts, "
            "a dict of columns, or a data set whose items are dicts."
        )
    if layout not in ("auto", "table"):
        raise OptionError(f"layout={layout!r}: a table in memory has the layout 'table'.")
    found = read_samples(store_arrays(table, listing.columns, files), listing)
    return found, type(source).__name__, LAYOUTS["table"].title


def _without_empty(found: FolderListing, listing: Listing) -> FolderListing:
    """Remove samples with empty files; a table that the user named reports them itself, without a folder listing."""
    if found.samples and listing.table is None and listing.empty:
        empty = {listing.path(name) for name in listing.empty}
        found.problems += [
            f"{path}: the file is empty, or a link that leads nowhere"
            for sample in found.samples
            for path in empty.intersection(sample.files)
        ]
        found.samples = [sample for sample in found.samples if empty.isdisjoint(sample.files)]
    return found


def _renamed(sample: Sample, name: str) -> Sample:
    return replace(
        sample,
        id=f"{name}/{sample.id}",
        group=None if sample.group is None else f"{name}/{sample.group}",
        facts={"dataset": name, **sample.facts},
    )


def _distinct(names: list[str]) -> list[str]:
    """Return the names, with a number appended to each repeated one."""
    counts: Counter[str] = Counter()
    distinct = []
    for name in names:
        counts[name] += 1
        distinct.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return distinct
