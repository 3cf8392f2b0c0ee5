"""How often a scan is drawn for training, and how much it teaches about the presence of a lesion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pack import CLASSES, HOSPITALS, Packed

NORMAL = CLASSES.index("normal")


def sampling_weights(packed: Packed, chosen: NDArray[np.int64], shares: tuple[float, ...] = ()) -> NDArray[np.float64]:
    """Return the probability of each scan.

    Hospitals, classes within a hospital and groups within a class each have a probability by the root of their size.
    ``shares`` are the probabilities of the hospitals instead.
    """
    levels = (packed.hospitals, packed.labels, packed.groups)
    weights = np.ones(len(chosen))
    path = np.zeros(len(chosen), np.int64)
    for level in levels:
        inner = path * (int(level.max()) + 1) + level[chosen]
        _, parent, sizes = np.unique(path, return_inverse=True, return_counts=True)
        _, child, counts = np.unique(inner, return_inverse=True, return_counts=True)
        first = np.unique(inner, return_index=True)[1]
        root = np.sqrt(counts)
        totals = np.bincount(parent[first], weights=root, minlength=len(sizes))
        weights *= root[child] / totals[parent]
        path = child
    counts = np.bincount(path)
    weights /= counts[path]
    if shares:
        hospital = packed.hospitals[chosen]
        weights *= np.array(shares)[hospital] / np.bincount(hospital, weights, len(shares))[hospital]
    total: NDArray[np.float64] = weights / weights.sum()
    return total


def presence_weights(packed: Packed, chosen: NDArray[np.int64], sampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of a scan's presence by hospital, without and with a lesion.

    Both sum to the same at each hospital with normal scans, and are 0 at the others. The mean weight of a batch is 1.

    Args:
        packed: All scans.
        chosen: Rows that are trained on.
        sampled: Probability of each chosen scan.
    """
    lesion = packed.labels[chosen] != NORMAL
    share = np.zeros((len(HOSPITALS), 2))
    np.add.at(share, (packed.hospitals[chosen], lesion.astype(int)), sampled)
    share[share[:, 0] == 0] = 0
    equal = np.divide(share.sum(1, keepdims=True), 2 * share, out=np.zeros_like(share), where=share > 0)
    weights: NDArray[np.float64] = equal / share.sum()
    return weights
