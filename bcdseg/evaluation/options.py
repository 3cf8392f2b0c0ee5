"""Options of an evaluation: checked before any scan is predicted, and applied to the results table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from numbers import Real
from typing import Any

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.catalogue import MeasureOptions, all_measures
from bcdseg.evaluation.measures.custom import Metric, MetricLike, find_metrics
from bcdseg.evaluation.measures.intervals import DRAWS, estimate
from bcdseg.evaluation.measures.subgroups import CLASS, SIZE, Cuts, Subgroups, analyse_subgroups
from bcdseg.evaluation.metrics.outline import TOLERANCE_MM, score_mask
from bcdseg.evaluation.results_table import Case, Cases, table_of
from bcdseg.inference.rules import Rules
from bcdseg.messages import check_whole

BIRADS = re.compile(r"(?:bi-?rads)?[ _-]*([0-6])([abc]?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Options of an evaluation that don't depend on where the predictions come from.

    Attributes:
        draws: Number of bootstrap draws.
        seed: Seed of the draws.
        metrics: Metrics of the user.
        subgroups: Cut points of each fact that defines subgroups, None where it has none.
        prevalences: Prevalences of the positive class.
        class_order: Classes from the lowest to the highest; empty where the classes have no order.
        tolerance_mm: Tolerance of the normalised surface Dice.
    """

    draws: int
    seed: int
    metrics: tuple[Metric, ...]
    subgroups: Mapping[str, Cuts | None]
    prevalences: tuple[float, ...]
    class_order: tuple[str, ...]
    tolerance_mm: float

    def results(self, cases: Cases, rules: Rules | None = None) -> dict[str, Any]:
        """Return the fields of an ``Evaluation`` that follow from the results table."""
        options = MeasureOptions(
            prevalences=self.prevalences,
            class_order=self.class_order,
            metrics=self.metrics,
            tolerance_mm=self.tolerance_mm,
            rules=rules,
        )
        measures = all_measures(cases, options)
        again = {"draws": self.draws, "seed": self.seed}
        return {
            "cases": cases,
            "measures": measures,
            "estimates": estimate(cases, measures, **again),
            "subgroups": analyse_subgroups(cases, measures, self.subgroups, **again) if self.subgroups else None,
            "prevalence": self.prevalences[0] if self.prevalences else None,
            **again,
        }


@dataclass(frozen=True, kw_only=True)
class RequestedOptions:
    """Options that ``evaluate`` and ``evaluate_predictions`` have in common, as the caller gave them.

    Attributes:
        draws: Number of bootstrap draws; 0 computes no intervals.
        seed: Seed of the draws.
        metrics: Metrics of the user, or names of registered ones.
        subgroups: Names of facts, or a mapping from facts to cut points.
        prevalence: Prevalence of the positive class in clinical use, or several.
        class_order: Classes from the lowest to the highest; None for the order of BI-RADS categories.
        tolerance_mm: Tolerance of the normalised surface Dice.
        gallery: Number of scans of each kind in the gallery.
    """

    draws: int = DRAWS
    seed: int = 0
    metrics: Sequence[MetricLike] = ()
    subgroups: Subgroups = ()
    prevalence: float | Sequence[float] | None = None
    class_order: Sequence[str] | None = None
    tolerance_mm: float = TOLERANCE_MM
    gallery: int = 4

    def checked(self, dataset: Dataset, classes: Sequence[str], *, has_masks: bool) -> EvaluationOptions:
        """Return the options, after they were checked against the data set and the predictions.

        Args:
            dataset: Test scans.
            classes: Classes of the predictions; empty where none are predicted.
            has_masks: Whether masks are predicted.

        Raises:
            OptionError: An option is not possible; the message names it.
        """
        check_whole(draws=self.draws, seed=self.seed, gallery=self.gallery)
        found = find_metrics(self.metrics)
        order, rates = _order(classes, self.class_order), _prevalences(self.prevalence)
        if rates and not any(name.lower() == "malignant" for name in classes):
            raise OptionError(
                "prevalence: predictive values and net benefit are those of the class malignant, and the predicted classes are "
                f"{', '.join(classes) or 'none'}. Leave prevalence out."
            )
        built_in = _built_in_names(classes, order, rates)
        for metric in found:
            if metric.title in built_in:
                raise OptionError(
                    f"metrics: {metric.title} is the name of a built-in measure. "
                    "Give the metric its own name, with Metric(..., name=...)."
                )
            if metric.inputs != "masks" and not classes:
                raise OptionError(f"metrics: {metric.title} needs {metric.inputs}, and no classes are predicted.")
        if not _is_number(self.tolerance_mm) or self.tolerance_mm < 0:
            raise OptionError(f"tolerance_mm={self.tolerance_mm!r}: give millimetres, 0 or more.")
        return EvaluationOptions(
            draws=self.draws,
            seed=self.seed,
            metrics=found,
            subgroups=_subgroups(dataset, self.subgroups, has_masks=has_masks),
            prevalences=rates,
            class_order=order,
            tolerance_mm=self.tolerance_mm,
        )


def _subgroups(dataset: Dataset, subgroups: Subgroups, *, has_masks: bool) -> dict[str, Cuts | None]:
    if isinstance(subgroups, str) or not isinstance(subgroups, Iterable):
        raise OptionError(f"subgroups={subgroups!r}: give a list, such as subgroups=[{subgroups!r}].")
    wanted = dict(subgroups) if isinstance(subgroups, Mapping) else dict.fromkeys(map(_text, subgroups))
    if SIZE in wanted and not has_masks:
        raise OptionError(f"subgroups: {SIZE!r} needs predicted masks, and there are none.")
    if SIZE in wanted and not any(sample.masks and np.any(dataset.read(sample)[1]) for sample in dataset):
        raise OptionError(f"subgroups: {SIZE!r} needs scans with a lesion, and all masks of {dataset.name} are empty or unknown.")
    facts = {name for sample in dataset for name, value in sample.facts.items() if value is not None}
    labels, masks = any(sample.label is not None for sample in dataset), any(sample.masks for sample in dataset)
    known = {*facts, *[CLASS] * labels, *[SIZE] * (masks and has_masks)}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise OptionError(
            f"subgroups: no scan of {dataset.name} has the fact {', '.join(map(repr, unknown))}. "
            f"Choose from {', '.join(sorted(known))}; facts are read from a data set's table and from DICOM headers."
        )
    return {fact: None if cuts is None else _cuts(dataset, fact, cuts) for fact, cuts in wanted.items()}


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise OptionError(f"subgroups: {name!r} is not the name of a fact. Give texts, such as 'device'.")
    return name


def _cuts(dataset: Dataset, fact: str, cuts: object) -> tuple[float, ...]:
    """Return the cut points; raise where they are not numbers, or are given for a fact that is not a number."""
    given = tuple(cuts) if isinstance(cuts, Iterable) and not isinstance(cuts, str) else ()
    if not given or not all(_is_number(cut) for cut in given):
        raise OptionError(f"subgroups: {cuts!r} are not cut points of {fact!r}. Give a list of numbers, such as [50, 70].")
    values = [value for sample in dataset if (value := sample.facts.get(fact)) is not None]
    if fact in (CLASS, SIZE) or not all(_is_number(value) for value in values):
        raise OptionError(f"subgroups: {fact!r} is not a number for all scans and takes no cut points.")
    return given


def _prevalences(prevalence: float | Sequence[float] | None) -> tuple[float, ...]:
    if prevalence is not None and (isinstance(prevalence, str) or not isinstance(prevalence, (Real, Iterable))):
        raise OptionError(f"prevalence={prevalence!r}: give a fraction above 0 and below 1, such as 0.05, or a list of them.")
    given = () if prevalence is None else (prevalence,) if isinstance(prevalence, Real) else tuple(prevalence)
    for value in given:
        if not _is_number(value) or not 0 < float(value) < 1:
            raise OptionError(f"prevalence={value!r}: give a fraction above 0 and below 1, such as 0.05.")
    rates = tuple(dict.fromkeys(map(float, given)))
    for first, second in combinations(rates, 2):
        if f"{first:.3g}" == f"{second:.3g}":
            raise OptionError(f"prevalence: {first!r} and {second!r} are equal when rounded to three digits. Give one of them.")
    return rates


def _built_in_names(classes: Sequence[str], order: tuple[str, ...], prevalences: tuple[float, ...]) -> frozenset[str]:
    """Return the names of the built-in measures, from a table with one scan of each class."""
    mask = np.ones((8, 8), bool)
    whole: dict[str, Any] = {
        "size": mask.shape,
        "outlined": True,
        "outline": score_mask(mask, mask, spacing=(1, 1)),
        "regions": [(1.0, True)],
    }
    shares = [1 / len(classes)] * len(classes) if classes else None
    scans = [Case(id=name, label=name, probabilities=shares, **whole) for name in classes] or [Case(id="scan", **whole)]
    options = MeasureOptions(prevalences=prevalences, class_order=order, rules=Rules())
    return frozenset(measure.name for measure in all_measures(table_of(scans, classes=classes), options))


def _order(classes: Sequence[str], order: Sequence[str] | None) -> tuple[str, ...]:
    """Return the order of the classes: the given one, or that of BI-RADS categories."""
    if order is None:
        categories = {name: BIRADS.fullmatch(name.strip()) for name in classes}
        if len(classes) < 3 or not all(categories.values()):
            return ()
        return tuple(sorted(classes, key=lambda name: categories[name].groups()))  # type: ignore[union-attr]
    if isinstance(order, str) or sorted(order) != sorted(classes):
        raise OptionError(f"class_order={order!r}: give each class once, from the lowest to the highest: {', '.join(classes)}.")
    return tuple(order)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
