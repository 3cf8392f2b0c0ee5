"""Results per scan: each prediction is compared with the true mask and class."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.data.masks import read_mask
from bcdseg.errors import InputError, OptionError
from bcdseg.evaluation.metrics.outline import score_mask
from bcdseg.evaluation.results_table import Case
from bcdseg.types import Mask, Pixels, Sample

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.model.model import Model

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


def answers(
    model: Model, dataset: Dataset, *, change: Change | None = None, judged: bool = True, **options: Any
) -> Iterator[CaseResult]:
    """Predict every scan at its own size and compare it with the truth; scans are read and predicted ahead in the background.

    Args:
        model: Model to evaluate.
        dataset: Scans. A scan of the model's 'no lesion' class that has no mask file has an empty true mask.
        change: Function that changes pixels and mask before the prediction.
        judged: Whether to compare the masks.
        options: Options of ``Model.predict``.
    """
    changed: deque[Mask | None] = deque()

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
        truth = changed.popleft() if change is not None else None
        if truth is None and judged:
            truth = true_mask(sample, prediction.size, model.no_lesion, resize=dataset.resize_masks and change is None)
        yield CaseResult(_case(sample, prediction, truth if judged else None, model.rules.temperature), prediction, truth)


def true_mask(sample: Sample, size: tuple[int, int], no_lesion: str | None, *, resize: bool) -> Mask | None:
    """Return the true mask of a scan; a scan of the 'no lesion' class has an empty one without a file."""
    if sample.masks:
        return read_mask(sample.masks, size, resize)
    return np.zeros(size, bool) if no_lesion is not None and sample.label == no_lesion else None


def check_data(dataset: object) -> None:
    """Raise when the object is not a data set, for example when it is a path."""
    if not isinstance(dataset, Dataset):
        raise OptionError(f"{dataset!r}: is no data set. Open one with bcdseg.open_dataset, and take a part of bcdseg.split.")


def check_model(model: object) -> None:
    """Raise when the object is not a model, for example when it is a name."""
    from bcdseg.model.model import Model

    if not isinstance(model, Model):
        raise OptionError(f"{model!r}: is no model. Load one with bcdseg.load, or take run.model of bcdseg.fit.")


def check_measurable(name: str, classes: tuple[str, ...], dataset: Dataset) -> None:
    """Raise when scans have classes that the model doesn't know, or when no scan has a true mask or label."""
    if not len(dataset):
        raise InputError(f"{dataset.name}: holds no scan to measure on.")
    labels = Counter(sample.label for sample in dataset if sample.label is not None)
    unknown = [f"{label!r} ({count} scans)" for label, count in labels.items() if label not in classes]
    if classes and unknown:
        raise InputError(
            f"{dataset.name}: has the class {', '.join(unknown)}, which {name} doesn't know; it knows {', '.join(classes)}. "
            "Leave these scans out with select, or rename the class with combine(..., class_map=...)."
        )
    if not (classes and labels) and not any(sample.masks for sample in dataset):
        raise InputError(f"{dataset.name}: has neither masks nor labels that {name} could be compared with.")


def _case(sample: Sample, prediction: Prediction, truth: Mask | None, temperature: float) -> Case:
    probabilities = list(prediction.probabilities.values()) or None
    spacing = sample.spacing or prediction.spacing
    mask = prediction.mask
    return Case(
        id=sample.id,
        group=sample.group,
        label=sample.label if probabilities else None,
        probabilities=probabilities,
        logits=None if probabilities is None else [temperature * float(np.log(max(one, LEAST))) for one in probabilities],
        outlined=None if mask is None else bool(mask.any()),
        outline=None if mask is None or truth is None else score_mask(mask, truth, spacing=spacing, name=sample.id),
        size=prediction.size,
        spacing=spacing,
    )
