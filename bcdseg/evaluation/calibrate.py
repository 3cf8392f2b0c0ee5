"""Calibration on validation scans: temperature, confidence threshold, operating points."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.labels import match_spellings
from bcdseg.errors import InputError, OptionError
from bcdseg.evaluation.case_results import check_measurable, check_model, results_table
from bcdseg.evaluation.metrics.calibration import fit_temperature
from bcdseg.evaluation.metrics.classification import steps
from bcdseg.evaluation.training_overlap import remember_scans, warn_of_training_scans
from bcdseg.inference.rules import OperatingPoint
from bcdseg.messages import counted
from bcdseg.model.model import Model
from bcdseg.model.registry import joint_training_overlap

FLAGGED = 0.1  # fraction of the scans that the confidence threshold flags
ROUNDED = 1e-12  # difference of fractions up to which they are equal, because of rounding
Fractions = float | Sequence[float] | None


def calibrate(
    model: Model, val: Dataset, *, sensitivity: Fractions = None, specificity: Fractions = None, positive: str = "auto"
) -> Model:
    """Fit the decision rules of a model on validation scans only, and return a copy of the model with these rules.

    - The temperature minimises the negative log-likelihood of the true classes of these scans. Class offsets are removed.
    - The confidence threshold is the 10 % quantile of the confidences on these scans; less confident predictions are flagged.
    - The operating point for a sensitivity is the highest threshold on the probability of ``positive`` at which at least that
      fraction of the positive scans is predicted positive. The one for a specificity is the lowest threshold at which at least
      that fraction of the other scans is not. The threshold is halfway to the next scan's probability.
      ``model.predict(x, operating_point="sensitivity 0.95")`` uses it. Operating points that the model had are dropped, because
      they were chosen at another temperature.

    The copy of a trained model stores these scans as validation scans, which ``bcdseg.evaluate`` refuses as test scans.

    Args:
        model: Model to calibrate; it is not changed.
        val: Scans that the weights were not fitted on, and that are not the test scans.
        sensitivity: One or several sensitivities to reach.
        specificity: One or several specificities to reach.
        positive: Class that the operating points predict; ``"auto"`` is ``malignant``.

    Warns:
        LeakWarning: The weights were trained on some of the scans. The validation scans of ``bcdseg.fit`` cause no warning.

    Raises:
        InputError: The model has no classes, no scan has a label, all have the same, a class is unknown to the model, or there are
            no scans to choose an operating point on, or none that reaches a specificity.
    """
    check_model(model)
    check_data(val)
    if not model.classes:
        raise InputError(f"{model.name}: has no classes, and calibrate fits only rules of classes: temperature and thresholds.")
    if len(val) and all(one.label is None for one in val):
        raise InputError(f"{val.name}: has no labels, and calibrate fits temperature and thresholds to them. Give labelled scans.")
    val = match_spellings(val, model.classes, model.name)
    check_measurable(model.name, model.classes, val)
    if len(labelled := sorted({one.label for one in val if one.label is not None})) < 2:
        raise InputError(
            f"{val.name}: all labels are {labelled[0]!r}, to which no temperature can be fitted: it would make this class more "
            "probable or less. Give scans of two classes or more."
        )
    warn_of_training_scans(model, val)
    wanted = [*wanted_fractions("sensitivity", sensitivity), *wanted_fractions("specificity", specificity)]
    cases = results_table(model, val, with_masks=False)
    known = cases.has_class
    logits, labels = cases.logits[known], cases.labels[known]
    fitted = fit_rules(logits, labels)
    probabilities = softmax(logits / fitted["temperature"], axis=1)
    points = tuple(choose_points(model.classes, probabilities, labels, wanted, positive))
    for (kind, fraction), point in zip(wanted, points, strict=True):
        if (reached := getattr(point, kind)) < fraction - ROUNDED:
            raise InputError(
                f"{kind}={fraction:g}: no threshold reaches it, only {reached:.3g}, because scans that are not {point.positive} "
                "have a probability of 1 for it. Ask for less, or calibrate on more scans."
            )
    calibrated = with_rules(
        model,
        note=f"Temperature, confidence threshold and operating points were fitted on {counted(len(labels), 'validation scan')}.",
        **fitted,
        class_offsets=(),
        operating_points=points,
    )
    if model.training:
        calibrated.training["seen"] = joint_training_overlap([model], also=remember_scans(val, validation=val))
    return calibrated


def fit_rules(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return the temperature and the confidence threshold for class scores (scans x classes) whose true classes are known."""
    temperature = fit_temperature(logits, labels)
    confidence = softmax(logits / temperature, axis=1).max(axis=1)
    return {"temperature": temperature, "min_confidence": float(np.quantile(confidence, FLAGGED))}


def with_rules(model: Model, *, note: str = "", **rules: object) -> Model:
    """Return a copy of a model with other decision rules."""
    training = {**model.training, "calibration": note} if note and model.training else model.training
    return Model(
        copy.deepcopy(model.network),
        model.preprocessing,
        replace(model.rules, **rules),  # type: ignore[arg-type]
        training=copy.deepcopy(training),
        name=model.name,
        device=model.device,
    )


def wanted_fractions(kind: str, fractions: Fractions) -> list[tuple[str, float]]:
    """Return the kind and the value of each requested sensitivity or specificity."""
    each = [] if fractions is None else [fractions] if isinstance(fractions, (int, float, str)) else list(fractions)
    for fraction in each:
        if isinstance(fraction, str) or not 0 < fraction <= 1:
            raise OptionError(f"{kind}={fraction!r}: give a fraction above 0 and up to 1, such as 0.95.")
    return [(kind, float(fraction)) for fraction in each]


def choose_positive(classes: Sequence[str], positive: str) -> str:
    """Return the class that operating points predict; ``"auto"`` is ``malignant``.

    Raises:
        OptionError: The model has no such class.
    """
    chosen = next((name for name in classes if name.lower() == "malignant"), None) if positive == "auto" else positive
    if chosen not in classes:
        raise OptionError(f"positive={positive!r}: choose one of the classes {', '.join(classes)}.")
    return str(chosen)


def choose_points(
    classes: Sequence[str],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    wanted: Sequence[tuple[str, float]],
    positive: str,
) -> Iterator[OperatingPoint]:
    """Yield the operating points that reach sensitivities and specificities on some scans; see ``calibrate``."""
    if not wanted:
        return
    chosen = choose_positive(classes, positive)
    number = classes.index(chosen)
    truth = labels == number
    if not truth.any() or truth.all():
        raise InputError(f"An operating point for {chosen} needs validation scans that are {chosen}, and others that are not.")
    at = steps(truth, probabilities[:, number])
    for kind, fraction in wanted:
        reached = at.sensitivity[0] if kind == "sensitivity" else at.specificity[0]
        enough = np.flatnonzero(reached >= fraction - ROUNDED)
        threshold = _halfway(at.thresholds, int(enough[0] if kind == "sensitivity" else enough[-1]))
        predicted = probabilities[:, number] >= threshold  # also of a scan with a probability of 1, which no threshold excludes
        yield OperatingPoint(
            name=f"{kind} {fraction:g}",
            positive=chosen,
            threshold=threshold,
            sensitivity=float(predicted[truth].mean()),
            specificity=float(1 - predicted[~truth].mean()),
            scans=len(truth),
        )


def _halfway(thresholds: NDArray[np.float64], place: int) -> float:
    """Return the middle between a threshold and the next lower score.

    No scan's score equals this threshold then. The first threshold is above every score.
    """
    upper = min(float(thresholds[place]), 1.0)
    lower = float(thresholds[place + 1]) if place + 1 < len(thresholds) else 0.0
    return (upper + lower) / 2
