"""Metrics of the user: functions ``(y_true, y_pred)``, or names of registered ones, with intervals like all other measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bcdseg.errors import MetricWarning, OptionError
from bcdseg.evaluation.measures.measure import KNOWN_CLASS, WITH_LESION, Measure
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean
from bcdseg.evaluation.results_table import Cases
from bcdseg.messages import warn_caller
from bcdseg.registry import METRICS
from bcdseg.types import Mask

INPUTS = ("masks", "classes", "probabilities")


@dataclass(frozen=True)
class Metric:
    """A metric of the user.

    Attributes:
        function: Function of ``(y_true, y_pred)`` that returns a number.
        inputs: Arguments of the function. ``"masks"``: the true and the predicted mask of one scan, as boolean arrays, for
            each scan with a lesion, also a missed one; the metric is the mean over these scans. ``"classes"``: the numbers of the
            true and the predicted classes of all scans. ``"probabilities"``: the numbers of the true classes, and an array of
            scans x classes.
        name: Name in the results; by default the function's.
        unit: ``"fraction"`` for values from 0 to 1, ``"score"`` for any other range.
        higher_is_better: Whether higher values are better.

    Examples:
        >>> from sklearn.metrics import log_loss
        >>> Metric(log_loss, "probabilities", unit="score", higher_is_better=False).title
        'log_loss'
    """

    function: Callable[[Any, Any], Any]
    inputs: str = "masks"
    name: str = ""
    unit: str = "score"
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise OptionError(f"function={self.function!r} of a metric is not a function of (y_true, y_pred).")
        for option, value, choices in (("inputs", self.inputs, INPUTS), ("unit", self.unit, ("fraction", "score"))):
            if value not in choices:
                raise OptionError(f"{option}={value!r} of the metric {self.title!r} is unknown. Choose {' or '.join(choices)}.")

    @property
    def title(self) -> str:
        """Name in the results."""
        return self.name or str(getattr(self.function, "__name__", type(self.function).__name__))


MetricLike = str | Metric | Callable[[Any, Any], Any]
"""A metric: a ``Metric``, a function of two masks, or the name of a registered one of either."""


def find_metrics(metrics: Sequence[MetricLike]) -> tuple[Metric, ...]:
    """Return the metrics that a user has given, as ``Metric``.

    Raises:
        OptionError: A name is not registered, an object is not a function, or two metrics have the same name.
    """
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        raise OptionError(f"metrics={metrics!r}: give a list, such as metrics=[{metrics!r}].")
    found = tuple(_find(one) for one in metrics)
    names = [one.title for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(f"metrics: {', '.join(twice)} occurs twice. Give each metric its own name, with Metric(..., name=...).")
    return found


def _find(metric: MetricLike) -> Metric:
    if isinstance(metric, str):
        part = METRICS.find(metric)
        return part if isinstance(part, Metric) else Metric(part, name=metric)
    return metric if isinstance(metric, Metric) else Metric(metric)


def mask_values(metrics: Sequence[Metric], y_true: Mask, y_pred: Mask, *, name: str) -> dict[str, float]:
    """Return the values of the mask metrics for one scan with a lesion; an empty dictionary for a scan without one.

    Raises:
        OptionError: A metric raises an exception or doesn't return a finite number; the message names the scan.
    """
    chosen = [metric for metric in metrics if metric.inputs == "masks"] if y_true.any() else []
    return {metric.title: _number(metric, (y_true, y_pred), name) for metric in chosen}


def custom_measures(metrics: Sequence[Metric]) -> Iterator[Measure]:
    """Yield the measures of the user's metrics."""
    for metric in metrics:
        values: Callable[[Cases, Weights], Values] = partial(_mean, metric=metric) if metric.inputs == "masks" else _OfDraws(metric)
        scans = "The mean over the scans with a lesion" if metric.inputs == "masks" else "Over all scans of known class"
        origin = f"{metric.function.__module__}.{metric.title}" if hasattr(metric.function, "__module__") else metric.title
        yield Measure(
            name=metric.title,
            title=metric.title,
            definition=f"{scans} of the function {origin}.",
            section="custom",
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            needs=WITH_LESION if metric.inputs == "masks" else KNOWN_CLASS,
            values=values,
        )


def _mean(cases: Cases, weights: Weights, *, metric: Metric) -> Values:
    rows = cases.lesion
    column = cases.custom.get(metric.title, np.full(len(cases), np.nan))
    return mean(column[rows], weights[:, rows])


@dataclass(eq=False)
class _OfDraws:
    """Values of a metric of classes or probabilities in each draw, whose scans are repeated as often as they were drawn.

    A draw may lack what the metric needs, such as a class. Where the metric raises an exception, its value is NaN.

    Attributes:
        metric: Metric of classes or probabilities.
        warned: Whether an exception was reported; further ones are not.
    """

    metric: Metric
    warned: bool = False

    def __call__(self, cases: Cases, weights: Weights) -> Values:
        known = np.flatnonzero(cases.has_class)
        prediction = cases.predicted if self.metric.inputs == "classes" else cases.probabilities
        draws = (np.repeat(known, draw.astype(np.int64)) for draw in weights[:, known])
        return np.array([self._value(cases.labels[rows], prediction[rows]) for rows in draws], np.float64)

    def _value(self, y_true: Any, y_pred: Any) -> float:
        if not len(y_true):
            return np.nan
        try:
            return _number(self.metric, (y_true, y_pred), "some of the scans")
        except OptionError as error:
            if not self.warned:
                warn_caller(f"{error}. It is left out where it raises an exception.", MetricWarning)
            self.warned = True
            return np.nan


def _number(metric: Metric, arguments: tuple[Any, Any], where: str) -> float:
    try:
        value = float(metric.function(*arguments))
    except Exception as error:  # a user's function may raise anything
        raise OptionError(f"The metric {metric.title!r} raised {type(error).__name__} on {where}: {error}") from error
    if metric.inputs == "masks" and not np.isfinite(value):
        raise OptionError(f"The metric {metric.title!r} returned {value} for {where}. Let it return a number for any two masks.")
    return value
