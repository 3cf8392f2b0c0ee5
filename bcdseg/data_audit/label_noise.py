"""Labels that a cross-validated model confidently disagrees with.

The method is confident learning, as in cleanlab: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", Journal of Artificial Intelligence Research 70 (2021), doi 10.1613/jair.1.12125.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bcdseg.data_audit.finding import Finding
from bcdseg.errors import InputError
from bcdseg.types import Sample

Predictions = Mapping[str, Mapping[str, float]]
"""Probability of each class for each sample id, from a model that was not trained on that sample."""


def confident_joint(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the confident class of each sample, or -1.

    A class is confident for a sample when its probability is at least the mean probability of that class over the samples with
    that label; of several such classes the most probable one is returned.
    """
    classes = probabilities.shape[1]
    means = [probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(classes)]
    confident = probabilities >= np.array(means) - 1e-12
    best = np.where(confident, probabilities, -1.0).argmax(axis=1)
    found: NDArray[np.intp] = np.where(confident.any(axis=1), best, -1)
    return found


def label_noise(samples: Sequence[Sample], predictions: Predictions) -> tuple[Finding, ...]:
    """Return the samples that are confidently of another class than their label, the most confident first.

    Raises:
        InputError: A prediction is missing, has no class of the set, or is not a probability.
    """
    labelled = [sample for sample in samples if sample.label is not None]
    classes = sorted({str(sample.label) for sample in labelled})
    missing = [sample.id for sample in labelled if sample.id not in predictions]
    if missing:
        raise InputError(f"predictions: {len(missing)} labelled samples have none, {missing[0]} for one. Give all of them.")
    if not labelled:
        return ()
    rows = [[predictions[sample.id].get(name, np.nan) for name in classes] for sample in labelled]
    table = np.array(rows, np.float64)
    if not ((table >= 0) & (table <= 1)).all():
        bad = labelled[int(np.flatnonzero(~((table >= 0) & (table <= 1)).all(axis=1))[0])].id
        raise InputError(f"predictions: {bad} needs a probability from 0 to 1 for each of {', '.join(classes)}.")
    given = np.array([classes.index(str(sample.label)) for sample in labelled])
    suggested = confident_joint(given, table)
    doubtful = np.flatnonzero((suggested >= 0) & (suggested != given))
    margin = table[doubtful, suggested[doubtful]] - table[doubtful, given[doubtful]]
    return tuple(
        Finding(
            "label noise",
            (labelled[index].id,),
            f"The label is {classes[given[index]]} ({table[index, given[index]]:.0%}); the prediction without this scan is "
            f"{classes[suggested[index]]} ({table[index, suggested[index]]:.0%}).",
            None,
            round(float(by), 4),
        )
        for index, by in sorted(zip(doubtful.tolist(), margin.tolist(), strict=True), key=lambda one: -one[1])
    )
