"""Results table: prediction and truth of each scan, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bcdseg.errors import InputError
from bcdseg.evaluation.metrics.outline import Outline
from bcdseg.messages import counted
from bcdseg.types import Fact, Spacing

Column = NDArray[np.float64]
UNKNOWN = -1
OUTLINE = tuple(column.name for column in fields(Outline))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the results table: truth and prediction of one scan.

    Attributes:
        id: Id of the scan.
        group: Group of the scan (a patient, copies of one scan): scans of a group are not independent. None is a group of its own.
        label: True class, None when it is unknown.
        probabilities: Probability of each class, in the order of the table's classes; None for a model without classes.
        logits: Logits of the probabilities, before any calibration; None when they are not stored.
        outlined: Whether the predicted mask contains a lesion; None for a model without masks.
        outline: Agreement of the predicted with the true mask; None when either is unknown.
        size: Height and width in pixels.
        spacing: Millimetres per pixel, vertical and horizontal, or None.
        regions: Predicted regions with their scores; None when no mask probabilities are known.
        facts: Facts about scan, patient and machine, by name.
        custom: Values of the user's mask metrics, by name.
    """

    id: str
    group: str | None = None
    label: str | None = None
    probabilities: Sequence[float] | None = None
    logits: Sequence[float] | None = None
    outlined: bool | None = None
    outline: Outline | None = None
    size: tuple[int, int] = (0, 0)
    spacing: Spacing | None = None
    regions: Sequence[tuple[float, bool]] | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    custom: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cases:
    """The results table of a set of scans.

    A float column is NaN where a scan has no such value, because its mask or its label is unknown.

    Attributes:
        classes: Names of the classes, in the order of the probabilities; those of the scans where no classes are predicted.
        positive: Class whose sensitivity matters most, or None.
        no_lesion: Class that means 'no lesion', or None.
        ids: Ids of the scans.
        groups: Names of the scans' groups; a scan without a group has one of its own.
        labels: Index of the true class, -1 when it is unknown.
        probabilities: Array of scans x classes.
        logits: Array of scans x classes.
        outlined: 1 where the predicted mask contains a lesion, 0 where it is empty.
        outline: Columns of ``Outline`` by name: ``outline["dice"]``.
        size: Height and width in pixels.
        spacing: Millimetres per pixel, vertical and horizontal.
        regions: Score of each predicted region and whether it is matched to a lesion, for each scan; None where it is unknown.
        facts: Facts about each scan, by name.
        custom: Columns of the user's mask metrics, by name.
    """

    classes: tuple[str, ...]
    positive: str | None
    no_lesion: str | None
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: Column
    logits: Column
    outlined: Column
    outline: Mapping[str, Column]
    size: NDArray[np.int64]
    spacing: Column
    regions: tuple[tuple[tuple[float, bool], ...] | None, ...] = ()
    facts: tuple[Mapping[str, Fact], ...] = ()
    custom: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        count = f"{counted(len(self), 'scan')} in {counted(len(set(self.groups)), 'group')}"
        return f"<Cases: {count}, {int(self.has_mask.sum())} with masks>"

    @property
    def has_mask(self) -> NDArray[np.bool_]:
        """True for scans whose predicted mask was compared with a true mask, which may be empty."""
        return np.asarray(~np.isnan(self.outline["dice"]))

    @property
    def predicts_masks(self) -> bool:
        """Whether masks are predicted; without them, masks are not compared, and the table doesn't contain the true ones."""
        return not np.isnan(self.outlined).all()

    @property
    def predicts_classes(self) -> bool:
        """Whether classes are predicted."""
        return bool(self.has_probabilities.any())

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """True for scans whose true mask is known and not empty."""
        return np.asarray(self.outline["truth_area"] > 0)

    @property
    def clear(self) -> NDArray[np.bool_]:
        """True for scans whose true mask is known and empty."""
        return np.asarray(self.outline["truth_area"] == 0)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the predicted (most probable) class, the first of equals; -1 where there are no probabilities."""
        known = self.has_probabilities
        predicted = np.full(len(self), UNKNOWN)
        predicted[known] = self.probabilities[known].argmax(axis=1) if self.classes else UNKNOWN
        return predicted

    @property
    def has_probabilities(self) -> NDArray[np.bool_]:
        """True for scans with a predicted class."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1) & bool(self.classes))

    @property
    def has_class(self) -> NDArray[np.bool_]:
        """True for scans whose true and predicted class are known."""
        return np.asarray(self.has_probabilities & (self.labels != UNKNOWN))

    @property
    def contradiction(self) -> Column:
        """1 where predicted mask and class contradict each other, else 0; NaN where either is missing.

        They do when the mask contains a lesion and the class is 'no lesion', or when the mask is empty and the class is another.
        """
        negative = self.predicted == (self.classes.index(self.no_lesion) if self.no_lesion else UNKNOWN)
        both = self.has_probabilities & ~np.isnan(self.outlined)
        return np.where(both, (self.outlined == 1) == negative, np.nan)

    @property
    def has_regions(self) -> bool:
        """Whether the predicted regions have scores, in all scans whose mask was compared."""
        rows = np.flatnonzero(self.has_mask)
        return bool(len(rows)) and all(self.regions[row] is not None for row in rows)

    @cached_property
    def region_columns(self) -> tuple[NDArray[np.int64], Column, NDArray[np.bool_]]:
        """Row of the scan, score, and whether it is matched to a lesion, for each predicted region of all scans."""
        rows = [(at, *region) for at, regions in enumerate(self.regions) for region in regions or ()]
        scan, score, hit = zip(*rows, strict=True) if rows else ((), (), ())
        return np.array(scan, np.int64), np.array(score, np.float64), np.array(hit, bool)

    @cached_property
    def group_numbers(self) -> NDArray[np.int64]:
        """The groups as numbers, from 0."""
        return np.unique(np.array(self.groups, dtype=object).astype(str), return_inverse=True)[1].reshape(-1)

    def label(self, at: int) -> str | None:
        """Return the true class of one scan, or None."""
        return None if self.labels[at] == UNKNOWN else self.classes[self.labels[at]]

    def select(self, rows: ArrayLike) -> Cases:
        """Return some rows: by their numbers, in that order and with repetitions, or by a boolean mask."""
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        columns = {
            name: getattr(self, name)[chosen] for name in ("labels", "probabilities", "logits", "outlined", "size", "spacing")
        }
        return replace(
            self,
            ids=tuple(self.ids[at] for at in chosen),
            groups=tuple(self.groups[at] for at in chosen),
            outline={name: column[chosen] for name, column in self.outline.items()},
            regions=tuple(self.regions[at] for at in chosen),
            facts=tuple(self.facts[at] for at in chosen),
            custom={name: column[chosen] for name, column in self.custom.items()},
            **columns,
        )


def table_of(
    cases: Iterable[Case], *, classes: Sequence[str], no_lesion: str | None = None, positive: str | None = "auto"
) -> Cases:
    """Build a results table from rows.

    Args:
        cases: Rows of the table.
        classes: Names of the classes, in the order of the probabilities; without any, the true classes are ignored.
        no_lesion: Class that means 'no lesion', or None.
        positive: Class whose sensitivity matters most; ``"auto"`` uses ``malignant`` where it exists, else none.

    Raises:
        InputError: A scan occurs twice, its label is not one of the classes, or it doesn't have one probability per class.
    """
    rows, names = list(cases), tuple(classes)
    _check(rows, names)
    number = {name: at for at, name in enumerate(names)}
    if positive == "auto":
        positive = next((name for name in names if name.lower() == "malignant"), None)
    custom = dict.fromkeys(key for row in rows for key in row.custom)
    for option, name in (("positive", positive), ("no_lesion", no_lesion)):
        if name is not None and name not in number:
            raise InputError(f"{option}={name!r}: choose one of the classes: {', '.join(names) or 'the model has none'}.")
    return Cases(
        classes=names,
        positive=positive,
        no_lesion=no_lesion,
        ids=tuple(row.id for row in rows),
        groups=tuple(f"scan {row.id}" if row.group is None else row.group for row in rows),
        labels=np.array([number.get(row.label, UNKNOWN) if row.label is not None else UNKNOWN for row in rows], np.int64),
        probabilities=_wide([row.probabilities for row in rows], len(names)),
        logits=_wide([row.logits for row in rows], len(names)),
        outlined=_floats([row.outlined for row in rows]),
        outline={name: _floats([getattr(row.outline, name, None) for row in rows]) for name in OUTLINE},
        size=np.array([row.size for row in rows], np.int64).reshape(-1, 2),
        spacing=_wide([row.spacing for row in rows], 2),
        regions=tuple(None if row.regions is None else tuple(_region(*region) for region in row.regions) for row in rows),
        facts=tuple(row.facts for row in rows),
        custom={name: _floats([row.custom.get(name) for row in rows]) for name in custom},
    )


def _region(score: float, hit: bool) -> tuple[float, bool]:
    return float(score), bool(hit)


def _check(rows: Sequence[Case], classes: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise InputError(f"{row.id}: occurs twice in the results table. Each scan may occur once.")
        seen.add(row.id)
        if classes and row.label is not None and row.label not in classes:
            raise InputError(f"{row.id}: its label {row.label!r} is not one of the model's classes: {', '.join(classes)}.")
        for values in (row.probabilities, row.logits):
            if values is not None and (len(values) != len(classes) or not np.isfinite(values).all()):
                raise InputError(f"{row.id}: {list(values)} is not one finite number for each of {', '.join(classes)}.")


def _floats(values: Sequence[Any]) -> Column:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _wide(values: Sequence[Sequence[float] | None], width: int) -> Column:
    return np.array([[np.nan] * width if row is None else list(row) for row in values], np.float64).reshape(len(values), width)


def as_case(cases: Cases, at: int) -> Case:
    """Return one row of a table, as ``table_of`` accepts it."""

    def known(values: Any) -> Any:
        return None if np.isnan(values).any() else tuple(float(value) for value in values)

    whole = ("lesions_true", "lesions_found", "lesions_false")
    scores = {name: None if np.isnan(column[at]) else float(column[at]) for name, column in cases.outline.items()}
    outline = {name: int(score) if name in whole and score is not None else score for name, score in scores.items()}
    outlined = cases.outlined[at]
    return Case(
        id=cases.ids[at],
        group=cases.groups[at],
        label=cases.label(at),
        probabilities=known(cases.probabilities[at]) if cases.classes else None,
        logits=known(cases.logits[at]) if cases.classes else None,
        outlined=None if np.isnan(outlined) else bool(outlined),
        outline=None if scores["dice"] is None else Outline(**outline),  # type: ignore[arg-type]
        size=(int(cases.size[at, 0]), int(cases.size[at, 1])),
        spacing=known(cases.spacing[at]),
        regions=cases.regions[at],
        facts=cases.facts[at],
        custom={name: float(column[at]) for name, column in cases.custom.items() if not np.isnan(column[at])},
    )


def pooled(tables: Sequence[Cases]) -> Cases:
    """Concatenate tables of the same classes, such as those of all folds."""
    first = tables[0]
    return table_of(
        (as_case(table, at) for table in tables for at in range(len(table))),
        classes=first.classes,
        no_lesion=first.no_lesion,
        positive=first.positive,
    )
