"""Folds of a benchmark, which are the same for all recipes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bcdseg.data.dataset import Dataset
from bcdseg.data.duplicates.search import duplicate_groups
from bcdseg.data.grouping import merged_groups
from bcdseg.data.hashing import ground_truth_hash
from bcdseg.data.splits import folds, split
from bcdseg.errors import LeakError, LeakWarning, OptionError, OutputExistsError
from bcdseg.files import write_whole
from bcdseg.inference.writers import json_bytes
from bcdseg.messages import check_whole, name_some

GROUPED, LEAKY = "grouped", "leaky"
FoldPairs = Sequence[tuple[Dataset, Dataset]]
"""Folds as pairs of the training part and the test part, such as those of ``bcdseg.load_folds``."""
FILE = "plan.json"
FORMAT, VERSION = "bcdseg benchmark", 1


@dataclass(frozen=True)
class Fold:
    """One fold of the cross-validation.

    Attributes:
        kind: ``grouped``: no group is in two parts; ``leaky``: scans were split at random.
        number: Number of the fold, from 1.
        train: Training part.
        val: Validation part, to choose the epoch and to calibrate; shares no group with ``train``, in leaky folds too.
        test: Test part.
    """

    kind: str
    number: int
    train: Dataset
    val: Dataset
    test: Dataset

    def __str__(self) -> str:
        return f"{'leaky ' if self.kind == LEAKY else ''}fold {self.number}"

    @property
    def folder(self) -> str:
        """Name of the folder of the fold's results."""
        return str(self).replace(" ", "-")


@dataclass(frozen=True)
class FoldPlan:
    """All folds of one data set.

    Attributes:
        dataset: All scans, with patients and copies joined into groups.
        duplicates: Groups of ids that show the same scan.
        folds: Grouped folds, then the leaky ones if requested.
        facts: Facts that determine the folds, in JSON types.
    """

    dataset: Dataset
    duplicates: tuple[tuple[str, ...], ...]
    folds: tuple[Fold, ...]
    facts: dict[str, Any]


def make_plan(
    dataset: Dataset,
    k: int | FoldPairs,
    *,
    seed: int,
    val: float,
    leaky: bool,
    duplicates: Sequence[Sequence[str]] | None = None,
) -> FoldPlan:
    """Draw the folds, and the validation part of each training part.

    Args:
        dataset: Scans to split. Copies are searched once; patients are the samples' groups.
        k: Number of folds, or folds that are drawn already.
        seed: Seed of the split; the same seed and scans give the same folds.
        val: Fraction of each training part that is used for validation.
        leaky: Whether to draw random folds too.
        duplicates: Groups of ids that show the same scan; None searches for them.
    """
    if not 0 < val < 1:
        raise OptionError(f"val={val!r}: give the fraction of each training part that is used for validation, above 0 and below 1.")
    if isinstance(k, str):
        raise OptionError(f"folds={k!r}: give a number, or pairs of (train, test), such as bcdseg.load_folds returns.")
    if not isinstance(k, Iterable):
        check_whole(2, folds=k)
    pairs = list(k) if isinstance(k, Iterable) else None
    chosen = dataset if pairs is None else _tested(dataset, pairs)
    known = duplicate_groups(chosen) if duplicates is None else duplicates
    groups = merged_groups(chosen.samples, known)
    samples = tuple(replace(sample, group=group) for sample, group in zip(chosen, groups, strict=True))
    grouped = replace(chosen, samples=samples)
    count = k if isinstance(k, int) else len(k)
    drawn = [(GROUPED, folds(grouped, count, seed=seed, duplicates=()) if pairs is None else _without_leak(grouped, pairs))]
    if leaky:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeakWarning)  # the leak is intended: its effect is measured
            drawn.append((LEAKY, folds(chosen, count, seed=seed, group=None)))
    rounds = tuple(
        _fold(grouped, kind, number, train, test, val, seed)
        for kind, parts in drawn
        for number, (train, test) in enumerate(parts, 1)
    )
    facts = {"dataset": dataset.name, "folds": count, "seed": seed, "val": val, "samples": _rows(grouped, rounds)}
    facts["hashes"] = {one.id: ground_truth_hash(one) for one in grouped}
    return FoldPlan(grouped, tuple(tuple(group) for group in known), rounds, facts)


def _tested(dataset: Dataset, pairs: FoldPairs) -> Dataset:
    """Return the scans of all test parts, with their groups, in the order of the data set.

    Raises:
        OptionError: There are fewer than two folds, or a scan is in two test parts.
    """
    tested = {sample.id: sample for _, test in pairs for sample in test}
    if len(pairs) < 2 or len(tested) < sum(len(test) for _, test in pairs):
        raise OptionError(f"folds: {len(pairs)} pairs of (train, test). Give two or more, with each scan in one test part.")
    chosen = dataset.select({one for train, test in pairs for one in (*train.ids, *test.ids)})
    unpredicted = [one for one in chosen.ids if one not in tested]
    if unpredicted:
        raise OptionError(f"folds: no test part contains {name_some(unpredicted)}. Give folds in which each scan is tested once.")
    return replace(chosen, samples=tuple(tested[one] for one in chosen.ids))


def _without_leak(dataset: Dataset, pairs: FoldPairs) -> list[tuple[Dataset, Dataset]]:
    """Return the folds, or raise an error if a group is on both sides of one."""
    for number, (train, test) in enumerate(pairs, 1):
        groups = {dataset[one].group for one in train.ids} & {dataset[one].group for one in test.ids} - {None}
        if groups:
            raise LeakError(f"folds: fold {number} has groups on both sides: {name_some(sorted(map(str, groups)))}.")
    return list(pairs)


def keep_plan(plan: FoldPlan, folder: Path) -> None:
    """Write the facts of the folds, or check that the folder's are the same.

    Raises:
        OutputExistsError: The folder contains a benchmark of other folds.
    """
    path = folder / FILE
    content = {"format": FORMAT, "version": VERSION, **plan.facts}
    if path.exists():
        from bcdseg.comparison.store import read_json

        there = read_json(path, FORMAT, VERSION)
        other = [name for name in plan.facts if name not in ("samples", "hashes") and there.get(name) != plan.facts[name]]
        differing = [f"{name}={plan.facts[name]!r} ({there.get(name)!r} there)" for name in other]
        if not differing and there.get("samples") != plan.facts["samples"]:
            differing = ["other scans, labels, masks or groups"]
        hashes = there.get("hashes", {})  # earlier versions did not write them
        changed = [one for one, now in plan.facts["hashes"].items() if hashes.get(one, now) != now]
        if not differing and changed:
            differing = [f"earlier contents of the image or mask files of {name_some(changed)}"]
        if differing:
            raise OutputExistsError(
                f"{folder}: contains a benchmark of {', '.join(differing)}. Choose another folder, or the same data and folds."
            )
        return
    write_whole(path, json_bytes(content), durable=True)


def _fold(dataset: Dataset, kind: str, number: int, train: Dataset, test: Dataset, val: float, seed: int) -> Fold:
    """Return the parts of one fold, all with the true groups."""
    learn, check, _ = split(dataset.select(train.ids), (1 - val, val, 0), seed=seed, duplicates=())
    return Fold(kind, number, learn, check, dataset.select(test.ids))


def _rows(dataset: Dataset, rounds: Sequence[Fold]) -> list[list[Any]]:
    """Return, for each scan, id, group, label, number of masks, and the grouped fold that tests it."""
    fold_of = {one: fold.number for fold in rounds if fold.kind == GROUPED for one in fold.test.ids}
    return [[one.id, one.group, one.label, len(one.masks), fold_of[one.id]] for one in dataset]
