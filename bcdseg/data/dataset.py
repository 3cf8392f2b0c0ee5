"""Data sets: ordered samples with their classes, groups and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Number
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from bcdseg.data.grouping import Findings, KnownDuplicates, all_but_first, check_same_data, merged_groups
from bcdseg.data.labels import ClassMap, class_order, map_samples
from bcdseg.data.readers import read_sample
from bcdseg.errors import BcdsegError, DataWarning, OptionError
from bcdseg.extras import require
from bcdseg.messages import check_choice, counted, name_some, raise_problems, warn_caller
from bcdseg.table_text import html_table
from bcdseg.types import Mask, Pixels, Sample, as_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from bcdseg.data.preprocessing import Preprocessing
    from bcdseg.data.tensors import Change, TensorDataset

FILTERED = ("label", "group", "part")


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples in a fixed order, whose files are read on demand.

    Attributes:
        samples: The samples.
        name: Name of the folder or table that the samples come from.
        layout: Description of the file layout.
        resize_masks: Whether masks whose size differs from their image's are resized to it when they are read.
        problems: Descriptions of the problems with files that were left out.
        known_duplicates: Duplicates that an applied audit found, which a split of these samples reuses.
    """

    samples: tuple[Sample, ...]
    name: str
    layout: str = "made in memory"
    resize_masks: bool = False
    problems: tuple[str, ...] = ()
    known_duplicates: KnownDuplicates | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        twice = [f"{one}: is in the data set {count} times" for one, count in Counter(self.ids).items() if count > 1]
        raise_problems(self.name, twice)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the samples, in order."""
        return tuple(sample.id for sample in self.samples)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur: normal, benign and malignant first, then the others in alphabetical order."""
        labels = {sample.label for sample in self.samples if sample.label is not None}
        return tuple(sorted(labels, key=class_order))

    @cached_property
    def facts(self) -> tuple[str, ...]:
        """The names of the facts that are known of some sample, in alphabetical order."""
        return tuple(sorted({name for sample in self.samples for name in sample.facts}))

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __contains__(self, item: object) -> bool:
        return (item.id if isinstance(item, Sample) else item) in self._index

    def __getitem__(self, key: SupportsIndex | str) -> Sample:
        if isinstance(key, (SupportsIndex, slice)):
            return self.samples[key]
        if not isinstance(key, str) or key not in self._index:
            raise OptionError(f"{key!r}: no sample of {self.name}. Give its number or its id, such as {''.join(self.ids[:1])!r}.")
        return self.samples[self._index[key]]

    def __repr__(self) -> str:
        return f"<Dataset {self.name} ({self.layout}): {counted(len(self), 'sample')}; {'; '.join(self._summary().values())}>"

    def _repr_html_(self) -> str:
        return html_table(f"{self.name}: {counted(len(self), 'sample')} ({self.layout})", self._summary().items())

    def _summary(self) -> dict[str, str]:
        labels = Counter(sample.label for sample in self.samples)
        counts = [f"{labels[name]} {name}" for name in self.classes]
        counts += [f"{labels[None]} without a label"] * (labels[None] > 0 and len(counts) > 0)
        grouped = [sample.group for sample in self.samples if sample.group is not None]
        facts = {
            "classes": ", ".join(counts) or "no labels",
            "masks": f"{sum(bool(sample.masks) for sample in self.samples)} with masks",
            "groups": f"{len(grouped)} in {counted(len(set(grouped)), 'group')}" if grouped else "no groups known",
        }
        facts |= {"facts": f"facts: {', '.join(self.facts)}"} if self.facts else {}
        return facts | ({"problems": f"{counted(len(self.problems), 'problem')} skipped"} if self.problems else {})

    def select(self, ids: Iterable[str]) -> Dataset:
        """Return the samples with these ids, in the order of this data set."""
        if isinstance(ids, str):
            raise OptionError(f"ids={ids!r}: give a list of ids, such as [{ids!r}].")
        wanted = set(ids)
        unknown = sorted(wanted - self._index.keys())
        if unknown:
            raise OptionError(f"{name_some(unknown)}: {self.name} has no samples with these ids. Its ids are in .ids.")
        return replace(self, samples=tuple(sample for sample in self.samples if sample.id in wanted))

    def filter(self, keep: Callable[[Sample], object] | None = None, **values: Any) -> Dataset:
        """Return the samples that meet all conditions, in the order of this data set.

        Args:
            keep: Function of a sample that returns whether to keep it.
            values: Values of ``label``, ``group``, ``part`` or of facts, by name: one value, or several.

        Warns:
            DataWarning: No sample has one of these texts.

        Raises:
            OptionError: No sample has a fact of this name.

        Example:
            >>> lesions = data.filter(label=["benign", "malignant"])
            >>> older = data.filter(lambda sample: sample.facts.get("age", 0) >= 50)
        """
        for name in values:
            check_choice("filter", name, (*FILTERED, *self.facts))
        several = {name: isinstance(value, Iterable) and not isinstance(value, str) for name, value in values.items()}
        wanted = {name: set(value) if several[name] else {value} for name, value in values.items()}
        kept = self.samples
        for name, some in wanted.items():
            own = {one.id: getattr(one, name) if name in FILTERED else one.facts.get(name) for one in self.samples}
            if unknown := sorted(one for one in some.difference(own.values()) if isinstance(one, str)):
                warn_caller(f"{self.name}: no sample has {name}={unknown[0]!r}. Check the spelling.", DataWarning)
            texts = {as_text(one) if name in FILTERED and isinstance(one, Number) else one for one in some}
            kept = tuple(sample for sample in kept if own[sample.id] in texts)
        return replace(self, samples=tuple(sample for sample in kept if keep is None or keep(sample)))

    def map_labels(self, class_map: ClassMap) -> Dataset:
        """Return the data set with its labels renamed or merged.

        Args:
            class_map: Mapping from labels to classes; None removes the samples with that label. Other labels stay as they are.

        Raises:
            OptionError: The mapping names a label that no sample has.

        Example:
            >>> data.map_labels({"Cyst": "benign", "Cancer": "malignant", "unsure": None})
        """
        return replace(self, samples=tuple(map_samples(self.samples, class_map)))

    def part(self, name: str) -> Dataset:
        """Return the samples that the data set's own split assigns to a part (``train``, ``val`` or ``test``)."""
        parts = sorted({sample.part for sample in self.samples if sample.part is not None})
        if name not in parts:
            raise OptionError(f"{name!r}: {self.name} prescribes {', '.join(parts) or 'no parts'}.")
        return replace(self, samples=tuple(sample for sample in self.samples if sample.part == name))

    def read(self, sample: Sample | str) -> tuple[Pixels, Mask | None]:
        """Read the pixels of a sample and its merged mask, which is None when the mask is unknown.

        For DICOM these are the pixels that prediction uses: the scan area, without the texts that the machine draws around it. If
        a frame has several scan areas, the one that contains most of the lesion is read. Files of several frames are refused.
        """
        return read_sample(self[sample] if isinstance(sample, str) else sample, resize_masks=self.resize_masks)

    def check(self, *, on_problem: str = "error") -> Dataset:
        """Read every file once, and collect the problems of all files that can't be read or whose mask doesn't fit.

        Args:
            on_problem: ``"error"`` raises one error that lists all problems; ``"skip"`` leaves those samples out.
        """
        check_choice("on_problem", on_problem, ("error", "skip"))
        good, problems = [], []
        for sample in self.samples:
            try:
                self.read(sample)
                good.append(sample)
            except BcdsegError as error:
                problems.append(str(error))
        if on_problem == "error":
            raise_problems(self.name, problems)
        return replace(self, samples=tuple(good), problems=(*self.problems, *problems))

    def show(self, count: int = 8, *, columns: int = 4) -> Image:
        """Return a picture of some scans with their outlines, ids and labels, which a notebook displays.

        Args:
            count: Number of scans, spread evenly over the data set.
            columns: Number of scans in a row.
        """
        from bcdseg.data.contact_sheet import draw_samples

        if not self.samples or count < 1:
            raise OptionError(f"{self.name}: has {len(self)} samples, and count is {count}: there is nothing to show.")
        count = min(count, len(self))
        chosen = [self.samples[number * len(self) // count] for number in range(count)]
        return draw_samples(chosen, self.read, columns)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row per sample; ``open_dataset`` opens it again.

        Masks in annotation files are left out, with a warning.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = require("pandas", extra="tables", purpose="A DataFrame of a data set")
        from bcdseg.data.layouts.table import table_of, without_masks

        if problem := without_masks(self.samples):
            warn_caller(f"{self.name}: {problem}", DataWarning)
        header, rows = table_of(self.samples, str)
        return pandas.DataFrame(rows, columns=header)

    def to_torch(
        self,
        preprocessing: Preprocessing,
        *,
        classes: Sequence[str] | None = None,
        negative_class: str | None = None,
        transform: Change | None = None,
    ) -> TensorDataset:
        """Return a map-style data set of torch, for a training loop of your own; its items are dicts of tensors.

        Args:
            preprocessing: Preprocessing of a model, ``model.preprocessing``.
            classes: Classes in the order of the label's numbers, ``model.classes``; by default those of this data set.
            negative_class: Class without a lesion, whose scans have an empty mask when they have no mask file.
            transform: Function of an item that returns it changed, such as an augmentation.
        """
        from bcdseg.data.tensors import TensorDataset

        return TensorDataset(self, preprocessing, self.classes if classes is None else classes, negative_class, transform)

    def to_csv(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write a table that ``open_dataset`` can read, with paths relative to the table."""
        from bcdseg.data.layouts.table import write

        write(self.samples, path, overwrite=overwrite)

    def to_coco(
        self,
        folder: str | PathLike[str],
        *,
        split: Iterable[Dataset] | None = None,
        segmentation: str = "rle",
        tolerance: float = 0.0,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the data set in COCO's format: ``images/`` and ``annotations/instances_PART.json``.

        Each lesion is an annotation. Label, group, part, spacing and facts of a scan are keys of its image.

        Args:
            folder: Folder to write.
            split: Split of this data set, for the parts; by default those that the data set prescribes.
            segmentation: ``"rle"`` for run lengths, which have exactly the pixels of the masks; ``"polygons"`` for polygons, which
                annotation tools can edit.
            tolerance: Largest deviation of simplified polygons, in pixels.
            overwrite: Whether existing files may be replaced.

        Returns:
            Paths of the written files.
        """
        from bcdseg.data.annotations import coco

        return coco.write(self, Path(folder), split=split, segmentation=segmentation, tolerance=tolerance, overwrite=overwrite)

    def to_labelme(
        self,
        folder: str | PathLike[str],
        *,
        split: Iterable[Dataset] | None = None,
        tolerance: float = 0.0,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the data set in LabelMe's format: images, each with a JSON file next to it where its mask is known.

        The label, group and spacing of a scan with an unknown mask are not written, with a warning.

        Args:
            folder: Folder to write.
            split: Split of this data set, for the parts; by default those that the data set prescribes.
            tolerance: Largest deviation of simplified polygons, in pixels; with 0 they have exactly the mask's pixels.
            overwrite: Whether existing files may be replaced.

        Returns:
            Paths of the written files.
        """
        from bcdseg.data.annotations import labelme

        return labelme.write(self, Path(folder), split=split, tolerance=tolerance, overwrite=overwrite)

    def to_yolo(
        self,
        folder: str | PathLike[str],
        *,
        split: Iterable[Dataset] | None = None,
        tolerance: float = 0.0,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the data set in YOLO's format of segmentation: ``data.yaml``, ``images/PART/`` and ``labels/PART/``.

        Scans without a part are training scans. A scan with an unknown mask has no text file; one without a lesion has an empty
        one. Labels, groups, spacings and facts, for which YOLO has no fields, are in ``bcdseg_cases.json``.

        Args:
            folder: Folder to write.
            split: Split of this data set, for the parts; by default those that the data set prescribes.
            tolerance: Largest deviation of simplified polygons, in pixels; with 0 they have exactly the mask's pixels.
            overwrite: Whether existing files may be replaced.

        Returns:
            Paths of the written files.
        """
        from bcdseg.data.annotations import yolo

        return yolo.write(self, Path(folder), split=split, tolerance=tolerance, overwrite=overwrite)

    def to_nnunet(
        self, folder: str | PathLike[str], *, split: Iterable[Dataset] | None = None, overwrite: bool = False
    ) -> list[Path]:
        """Write the data set in nnU-Net's raw format: ``dataset.json``, gray PNG images and label images.

        Label images contain a value for each class where the classes of all lesions are known, else 1 for a lesion. Scans without
        a mask are left out, with a warning. Parts are ``imagesTr``, ``imagesVal`` (which nnU-Net does not read) and ``imagesTs``.

        Args:
            folder: Folder to write, such as ``nnUNet_raw/Dataset101_Breast``.
            split: Split of this data set, for the parts; by default those that the data set prescribes.
            overwrite: Whether existing files may be replaced.

        Returns:
            Paths of the written files.
        """
        from bcdseg.data.annotations import nnunet

        return nnunet.write(self, Path(folder), split=split, overwrite=overwrite)

    def to_croissant(
        self,
        folder: str | PathLike[str],
        *,
        split: Iterable[Dataset] | None = None,
        overwrite: bool = False,
        **about: str | None,
    ) -> list[Path]:
        """Write Croissant metadata, ``croissant.json``, and the table that it describes, ``samples.csv``; images are not copied.

        Args:
            folder: Folder to write, such as the data set's own.
            split: Split of this data set, for the parts; by default those that the data set prescribes.
            overwrite: Whether existing files may be replaced.
            about: Properties of the data set: ``description``, ``license``, ``url``, ``citeAs``, ``datePublished``, ``version``,
                ``creator``, ``keywords``.
        """
        from bcdseg.data.annotations import croissant

        return croissant.write(self, Path(folder), split=split, about=about, overwrite=overwrite)

    def apply_audit(self, audit: Findings, *, conflicts: str = "drop", duplicates: str = "group") -> Dataset:
        """Return the data set after the conflicts and duplicates that an audit found are resolved.

        Args:
            audit: Result of ``bcdseg.audit`` for this data set.
            conflicts: ``"drop"`` removes every scan whose copies have different labels; ``"keep"`` keeps these scans.
            duplicates: ``"group"`` puts copies into one group (merged with the patients' groups), so that no split separates them;
                ``"first"`` keeps the first scan of each group of copies, and prefers one with a label and a mask.
        """
        check_choice("conflicts", conflicts, ("drop", "keep"))
        check_choice("duplicates", duplicates, ("group", "first"))
        check_same_data(self, (*audit.duplicate_groups, *audit.conflicts))
        dropped = {one for group in audit.conflicts for one in group} if conflicts == "drop" else set()
        kept = [sample for sample in self.samples if sample.id not in dropped]
        audited = replace(self, known_duplicates=KnownDuplicates.of(audit))
        if duplicates == "group":
            groups = merged_groups(kept, audit.duplicate_groups)
            return replace(audited, samples=tuple(replace(sample, group=group) for sample, group in zip(kept, groups, strict=True)))
        copies = all_but_first(kept, audit.duplicate_groups)
        return replace(audited, samples=tuple(sample for sample in kept if sample.id not in copies))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {sample.id: at for at, sample in enumerate(self.samples)}


def check_data(dataset: object) -> None:
    """Raise an error when the object is not a data set, for example when it is a path."""
    if not isinstance(dataset, Dataset):
        raise OptionError(f"{dataset!r} is not a data set. Open one with bcdseg.open_dataset.")
