"""Data sets: samples, their groups, and how one is read."""

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
    """Tie items together, transitively: item -> the one item that stands for all that are tied to it."""
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
    """The group of each sample when its patient and its duplicates are taken together; None for one that stands alone.

    A patient with a scan that is a duplicate of another patient's scan makes one group of both.
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
    """What an audit found, as far as a data set needs it: groups of sample ids."""

    @property
    def duplicate_groups(self) -> Sequence[Sequence[str]]:
        """Samples that show the same frame."""

    @property
    def conflicts(self) -> Sequence[Sequence[str]]:
        """Samples that show the same frame and have different labels."""


@dataclass(frozen=True, repr=False)
class Dataset:
    """Samples in a fixed order, none of them read yet.

    Attributes:
        samples: The samples.
        name: Name of the folder or table that they come from.
        layout: How they lay on disk, in words.
        resize_masks: Bring masks of another size than their image to the image's size when they are read.
        problems: What was wrong with files that were left out.
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
        """The labels that occur: normal, benign, malignant first, others by name."""
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
        """The samples of these ids, in the order of this data set."""
        wanted = set(ids)
        unknown = sorted(wanted - self._index.keys())
        if unknown:
            raise OptionError(f"{unknown[0]}: no sample of {self.name} has this id (nor have {len(unknown) - 1} others).")
        return replace(self, samples=tuple(sample for sample in self.samples if sample.id in wanted))

    def part(self, name: str) -> Dataset:
        """The samples that the data set itself puts in this part (``train``, ``val``, ``test``)."""
        parts = sorted({sample.part for sample in self.samples if sample.part is not None})
        if name not in parts:
            raise OptionError(f"{name!r}: {self.name} prescribes {', '.join(parts) or 'no parts'}.")
        return replace(self, samples=tuple(sample for sample in self.samples if sample.part == name))

    def read(self, sample: Sample | str) -> tuple[Pixels, Mask | None]:
        """The pixels of a sample and its merged mask; None when its mask is unknown.

        Of DICOM it is what prediction sees: the scan area without what the machine wrote around it, that with most lesion
        where a frame has several.
        """
        return read_sample(self[sample] if isinstance(sample, str) else sample, resize_masks=self.resize_masks)

    def check(self, *, on_problem: str = "error") -> Dataset:
        """Read every file once, and list all that can't be read, or whose mask doesn't fit, together.

        Args:
            on_problem: ``"error"`` raises; ``"skip"`` leaves those samples out.
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
        """Write the table that ``open_dataset`` reads back, with paths relative to it."""
        from bcdseg.data.layouts.table import write

        write(self.samples, path, overwrite=overwrite)

    def apply_audit(self, audit: Findings, *, conflicts: str = "drop", duplicates: str = "group") -> Dataset:
        """Take the decision on what an audit found.

        Args:
            audit: What ``bcdseg.audit`` returned for this data set.
            conflicts: ``"drop"`` leaves every scan out that carries two labels in its copies; ``"keep"`` leaves them.
            duplicates: ``"group"`` makes copies one group (joined with the patients' groups), so that no split parts them;
                ``"first"`` keeps the first of each group, one with a label and a mask before others.
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
    """Raise one error for all problems of a data set, if there are any."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_NAMED])
    more = len(problems) - MOST_NAMED
    rest = f"\n  and {more} more, all in the error's .problems" if more > 0 else ""
    raise DatasetError(
        f'{name}: {len(problems)} problems. Mend them, or leave these samples out with on_problem="skip".\n{shown}{rest}', problems
    )


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices, naming them."""
    if value not in choices:
        raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}.")


def check_same_data(dataset: Dataset, groups: Iterable[Sequence[str]]) -> None:
    """Refuse groups of ids of which the data set has none; that it lacks some is fine, it may be a selection."""
    named = {one for group in groups for one in group}
    if named and named.isdisjoint(dataset.ids):
        raise OptionError(
            f"{min(named)}: neither this nor any other of these ids is in {dataset.name}: they are of another data set."
        )


def _class_order(label: str) -> tuple[int, str]:
    low = label.lower()
    return (USUAL_ORDER.index(low) if low in USUAL_ORDER else len(USUAL_ORDER), label)


def _all_but_first(samples: Sequence[Sample], duplicates: Sequence[Sequence[str]]) -> set[str]:
    """Of each set of copies all but the one to keep."""
    rank = {sample.id: (sample.label is None, not sample.masks, at) for at, sample in enumerate(samples)}
    copies = [sorted((one for one in group if one in rank), key=rank.__getitem__) for group in duplicates]
    return {one for group in copies for one in group[1:]}
