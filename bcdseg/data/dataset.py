"""Data sets: ordered samples with their classes, groups and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Protocol, SupportsIndex, TypeVar

from bcdseg.data.layouts.listing import USUAL_ORDER
from bcdseg.data.readers import read_sample
from bcdseg.errors import BcdsegError, DatasetError, OptionError
from bcdseg.types import Mask, Pixels, Sample

Item = TypeVar("Item", bound=Hashable)


def joined(ties: Iterable[Sequence[Item]]) -> dict[Item, Item]:
    """Return a representative for each item, which is the same for all items that are tied, directly or through others."""
    parent: dict[Item, Item] = {}

    def top(item: Item) -> Item:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for tie in ties:
        for item in tie:
            parent[top(item)] = top(tie[0])
    return {item: top(item) for item in parent}


def merged_groups(samples: Sequence[Sample], duplicates: Iterable[Sequence[str]]) -> list[str | None]:
    """Return the group of each sample after patients and duplicates are merged, or None for a sample without either.

    A scan that is a duplicate of another patient's scan merges the groups of both patients.
    """
    known = {sample.id for sample in samples}
    ties: list[list[tuple[str, str]]] = [[("id", one) for one in group if one in known] for group in duplicates]
    ties += [[("group", sample.group), ("id", sample.id)] for sample in samples if sample.group is not None]
    top = joined(tie for tie in ties if len(tie) > 1)
    patients: dict[tuple[str, str], set[str]] = {}
    for (kind, name), one in top.items():
        if kind == "group":
            patients.setdefault(one, set()).add(name)
    names = {one: " + ".join(sorted(joint)) for one, joint in patients.items()}
    merged: list[str | None] = []
    for sample in samples:
        own = top.get(("id", sample.id))
        merged.append(None if own is None else names.setdefault(own, f"same scan as {sample.id}"))
    return merged


MOST_NAMED = 20


class Findings(Protocol):
    """The part of an audit's result that a data set needs: groups of sample ids."""

    @property
    def duplicate_groups(self) -> Sequence[Sequence[str]]:
        """Groups of samples that show the same frame."""

    @property
    def conflicts(self) -> Sequence[Sequence[str]]:
        """Groups of samples that show the same frame and have different labels."""


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples in a fixed order, whose files are read on demand.

    Attributes:
        samples: The samples.
        name: Name of the folder or table that the samples come from.
        layout: Description of the file layout.
        resize_masks: Whether masks whose size differs from their image's are resized to it when they are read.
        problems: Descriptions of the problems with files that were left out.
    """

    samples: tuple[Sample, ...]
    name: str
    layout: str = "made in memory"
    resize_masks: bool = False
    problems: tuple[str, ...] = ()

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
        return tuple(sorted(labels, key=_class_order))

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __contains__(self, item: object) -> bool:
        return (item.id if isinstance(item, Sample) else item) in self._index

    def __getitem__(self, key: SupportsIndex | str) -> Sample:
        if not isinstance(key, str):
            return self.samples[key]
        if key not in self._index:
            raise OptionError(f"{key}: no sample of {self.name} has this id. Ids are paths such as {self.ids[:1]}.")
        return self.samples[self._index[key]]

    def __repr__(self) -> str:
        labels = Counter(sample.label for sample in self.samples)
        counts = [f"{labels[name]} {name}" for name in self.classes]
        counts += [f"{labels[None]} without a label"] * (labels[None] > 0 and len(counts) > 0)
        grouped = [sample.group for sample in self.samples if sample.group is not None]
        facts = [
            ", ".join(counts) or "no labels",
            f"{sum(bool(sample.masks) for sample in self.samples)} with masks",
            f"{len(grouped)} in {len(set(grouped))} groups" if grouped else "no groups known",
        ]
        facts += [f"{len(self.problems)} problems skipped"] * bool(self.problems)
        return f"<Dataset {self.name} ({self.layout}): {len(self)} samples; {'; '.join(facts)}>"

    def select(self, ids: Iterable[str]) -> Dataset:
        """Return the samples with these ids, in the order of this data set."""
        wanted = set(ids)
        unknown = sorted(wanted - self._index.keys())
        if unknown:
            raise OptionError(f"{unknown[0]}: no sample of {self.name} has this id (nor have {len(unknown) - 1} others).")
        return replace(self, samples=tuple(sample for sample in self.samples if sample.id in wanted))

    def part(self, name: str) -> Dataset:
        """Return the samples that the data set's own split assigns to a part (``train``, ``val`` or ``test``)."""
        parts = sorted({sample.part for sample in self.samples if sample.part is not None})
        if name not in parts:
            raise OptionError(f"{name!r}: {self.name} prescribes {', '.join(parts) or 'no parts'}.")
        return replace(self, samples=tuple(sample for sample in self.samples if sample.part == name))

    def read(self, sample: Sample | str) -> tuple[Pixels, Mask | None]:
        """Read the pixels of a sample and its merged mask, which is None when the mask is unknown.

        For DICOM these are the pixels that prediction uses: the scan area, without what the ultrasound machine draws around it. If
        a frame has several scan areas, the one that contains most of the lesion is read.
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

    def to_csv(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write a table that ``open_dataset`` can read, with paths relative to the table."""
        from bcdseg.data.layouts.table import write

        write(self.samples, path, overwrite=overwrite)

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
        if duplicates == "group":
            groups = merged_groups(kept, audit.duplicate_groups)
            return replace(self, samples=tuple(replace(sample, group=group) for sample, group in zip(kept, groups, strict=True)))
        copies = _all_but_first(kept, audit.duplicate_groups)
        return replace(self, samples=tuple(sample for sample in kept if sample.id not in copies))

    @cached_property
    def _index(self) -> dict[str, int]:
        return {sample.id: at for at, sample in enumerate(self.samples)}


def raise_problems(name: str, problems: Sequence[str]) -> None:
    """Raise one error that lists all problems of a data set, if there are any."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_NAMED])
    more = len(problems) - MOST_NAMED
    rest = f"\n  and {more} more, all in the error's .problems" if more > 0 else ""
    raise DatasetError(
        f'{name}: {len(problems)} problems. Correct them, or leave them out with on_problem="skip".\n{shown}{rest}',
        problems,
    )


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Raise an error that lists the choices if the value is not one of them."""
    if value not in choices:
        raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}.")


def check_same_data(dataset: Dataset, groups: Iterable[Sequence[str]]) -> None:
    """Raise an error if the data set has none of the ids in the groups; some may be missing, since it may be a selection."""
    named = {one for group in groups for one in group}
    if named and named.isdisjoint(dataset.ids):
        raise OptionError(
            f"{min(named)}: neither this nor any other of these ids is in {dataset.name}: they are of another data set."
        )


def _class_order(label: str) -> tuple[int, str]:
    low = label.lower()
    return (USUAL_ORDER.index(low) if low in USUAL_ORDER else len(USUAL_ORDER), label)


def _all_but_first(samples: Sequence[Sample], duplicates: Sequence[Sequence[str]]) -> set[str]:
    """Return the ids of all copies except the one to keep of each group."""
    rank = {sample.id: (sample.label is None, not sample.masks, at) for at, sample in enumerate(samples)}
    copies = [sorted((one for one in group if one in rank), key=rank.__getitem__) for group in duplicates]
    return {one for group in copies for one in group[1:]}
