"""Results per scan: each prediction is compared with the true mask and class."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.data.masks import has_mask, read_mask
from bcdseg.data.readers import check_one_frame
from bcdseg.errors import InputError, OptionError
from bcdseg.evaluation.measures.custom import Metric, mask_values
from bcdseg.evaluation.metrics.detection import scored_regions
from bcdseg.evaluation.metrics.outline import TOLERANCE_MM, score_mask
from bcdseg.evaluation.results_table import Case, Cases, table_of
from bcdseg.messages import counted
from bcdseg.networks.config import no_lesion_class
from bcdseg.types import Mask, Pixels, Sample, Spacing

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.model.model import Model
    from bcdseg.runtimes.base import Calibration

Change = Callable[[Sample, Pixels, Mask | None], tuple[Pixels, Mask | None]]
LEAST = 1e-300  # a probability of 0 has no logarithm


@dataclass(frozen=True)
class CaseResult:
    """The prediction and the measured results of one scan.

    Attributes:
        case: Row of the results table.
        prediction: Prediction of the model.
        truth: True mask, None when it is unknown.
    """

    case: Case
    prediction: Prediction
    truth: Mask | None


def predict_cases(
    model: Model,
    dataset: Dataset,
    *,
    change: Change | None = None,
    with_masks: bool = True,
    metrics: Sequence[Metric] = (),
    tolerance_mm: float = TOLERANCE_MM,
    **options: Any,
) -> Iterator[CaseResult]:
    """Predict every scan at its own size and compare it with the truth; scans are read and predicted ahead in the background.

    Args:
        model: Model to evaluate.
        dataset: Scans. A scan of the 'no lesion' class that has no mask file has an empty true mask.
        change: Function that changes pixels and mask before the prediction.
        with_masks: Whether to compare the masks.
        metrics: Metrics of the user.
        tolerance_mm: Tolerance of the normalised surface Dice.
        options: Options of ``Model.predict``.
    """
    changed: deque[Mask | None] = deque()
    _, no_lesion = classes_of(model, dataset)

    def sources() -> Iterator[Any]:
        for sample in dataset:
            if change is None:
                yield sample.image
            else:
                pixels, mask = dataset.read(sample)
                pixels, mask = change(sample, pixels, mask)
                changed.append(mask)
                yield pixels

    for sample, prediction in zip(dataset, model.predict(sources(), **options), strict=True):
        check_one_frame(prediction.source, prediction.flags)
        truth = changed.popleft() if change is not None else None
        if truth is None and with_masks:
            truth = true_mask(sample, prediction.size, no_lesion, resize=dataset.resize_masks and change is None)
        case = _case(sample, prediction, truth if with_masks else None, model.rules.calibration, metrics, tolerance_mm)
        yield CaseResult(case, prediction, truth)


def results_table(model: Model, dataset: Dataset, **options: Any) -> Cases:
    """Predict every scan as ``predict_cases`` does, with its options, and return the results table."""
    classes, no_lesion = classes_of(model, dataset)
    return table_of((one.case for one in predict_cases(model, dataset, **options)), classes=classes, no_lesion=no_lesion)


def classes_of(model: Model, dataset: Dataset) -> tuple[tuple[str, ...], str | None]:
    """Return the classes of a results table, and the negative one: those of the data set for a model that only outlines."""
    return (model.classes, model.no_lesion) if model.classes else (dataset.classes, no_lesion_class(dataset.classes))


def true_mask(sample: Sample, size: tuple[int, int], no_lesion: str | None, *, resize: bool) -> Mask | None:
    """Return the true mask of a scan; a scan of the 'no lesion' class has an empty one without a file."""
    if sample.masks:
        return read_mask(sample.masks, size, resize)
    return np.zeros(size, bool) if has_mask(sample, no_lesion) else None


def check_model(model: object) -> None:
    """Raise when the object is not a model, for example when it is a name."""
    from bcdseg.model.model import Model

    if not isinstance(model, Model):
        raise OptionError(f"{model!r} is not a Model. Load one with bcdseg.load, or take run.model of bcdseg.fit.")


def check_measurable(name: str, classes: tuple[str, ...], dataset: Dataset, *, has_masks: bool = True) -> None:
    """Raise when scans have classes that the model doesn't have, or when no scan has a true mask or label.

    Args:
        name: Name of the model.
        classes: Its classes; empty if it only segments.
        dataset: The scans.
        has_masks: Whether the model segments.
    """
    if not len(dataset):
        raise InputError(f"{dataset.name}: contains no scans. Choose other scans.")
    labels = Counter(sample.label for sample in dataset if sample.label is not None)
    unknown = [f"{label!r} ({counted(count, 'scan')})" for label, count in labels.items() if label not in classes]
    if classes and unknown:
        raise InputError(
            f"{dataset.name}: the class {', '.join(unknown)} is not one of the classes of {name}: {', '.join(classes)}. "
            "Rename the classes with map_labels (--class-map), or leave these scans out with filter."
        )
    if not (classes and labels) and not (has_masks and any(sample.masks for sample in dataset)):
        missing = "neither masks nor labels" if has_masks and classes else "no masks" if has_masks else "no labels"
        raise InputError(f"{dataset.name}: contains {missing} to compare {name} with.")


def _case(
    sample: Sample,
    prediction: Prediction,
    truth: Mask | None,
    calibration: Calibration,
    metrics: Sequence[Metric],
    tolerance_mm: float,
) -> Case:
    probabilities = list(prediction.probabilities.values()) or None
    mask, probability = prediction.mask, prediction.mask_probability
    # The class of a scan of several regions is a mean of probabilities. For one region these are its logits up to a constant.
    logits = None if probabilities is None else calibration.logits(np.log(np.maximum(probabilities, LEAST))).tolist()
    compared = compare_masks(sample, truth, mask, sample.spacing or prediction.spacing, metrics, tolerance_mm)
    if truth is not None and mask is not None and probability is not None:
        compared["regions"] = scored_regions(truth, mask, probability)
    return Case(
        id=sample.id,
        group=sample.group,
        label=sample.label,
        probabilities=probabilities,
        logits=logits,
        size=prediction.size,
        facts=sample.facts,
        **compared,
    )


def compare_masks(
    sample: Sample,
    truth: Mask | None,
    mask: Mask | None,
    spacing: Spacing | None,
    metrics: Sequence[Metric],
    tolerance_mm: float,
) -> dict[str, Any]:
    """Return the fields of a ``Case`` that compare the predicted with the true mask, where both are known."""
    fields: dict[str, Any] = {"outlined": None if mask is None else bool(mask.any()), "spacing": spacing}
    if mask is not None and truth is not None:
        fields["outline"] = score_mask(truth, mask, spacing=spacing, tolerance_mm=tolerance_mm, name=sample.id)
        fields["custom"] = mask_values(metrics, truth, mask, name=sample.id)
    return fields
