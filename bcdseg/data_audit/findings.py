"""Findings of an audit: the masks, the labels and the properties of the files.

Labels are compared with the predictions of a cross-validated model by confident learning, as in cleanlab: C. Northcutt, L. Jiang,
I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of Artificial Intelligence Research 70 (2021),
doi 10.1613/jair.1.12125.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from scipy.stats import rankdata

from bcdseg.data.duplicates.search import DuplicatePair
from bcdseg.data.images import to_gray, to_uint8
from bcdseg.data.masks import dice, mask_size, read_mask
from bcdseg.errors import InputError
from bcdseg.messages import percent
from bcdseg.types import Mask, Pixels, Sample

Box = tuple[int, int, int, int]
"""Top, left, bottom and right, in pixels of the scan; bottom and right are exclusive."""

NORMAL = "normal"
TINY = 0.001  # fraction of the scan
SMALLEST_LESION = 9  # pixels; smaller components are drawing errors, not lesions
OTHER_OUTLINE = 0.8  # two masks of one lesion with a Dice below this contradict each other
GRID = 256
SUSPICIOUS = 0.65  # AUC from which a property is reported
SURE = 3.0  # standard errors: least distance of the AUC above chance level
COLOURED = 12  # difference in levels between a pixel's channels above which it is coloured

Predictions = Mapping[str, Mapping[str, float]]
"""Probability of each class for each sample id, from a model that was not trained on that sample."""


@dataclass(frozen=True)
class Finding:
    """One finding that a person should check.

    Attributes:
        kind: Kind of the finding in two or three words, the same for all of its kind.
        sample_ids: Ids of the affected scans; empty when the finding concerns the whole set.
        message: Description in one sentence.
        where: Position in the scan, where there is one.
        value: Number behind the finding (a Dice, an AUC, a fraction), where there is one.
    """

    kind: str
    sample_ids: tuple[str, ...]
    message: str
    where: Box | None = None
    value: float | None = None


def mask_of(sample: Sample) -> Mask:
    """Return the merged mask of a sample in the size of its first file; comparisons use fractions of its sides."""
    return read_mask(sample.masks, mask_size(sample.masks[0]), resize=True)


def mask_findings(sample: Sample, mask: Mask) -> Iterator[Finding]:
    """Yield the findings of one scan's mask."""
    ids = (sample.id,)
    normal = (sample.label or "").lower() == NORMAL
    share = float(mask.mean())
    if not mask.any():
        if sample.label is not None and not normal:
            yield Finding("empty mask", ids, f"The mask is empty, and the label is {sample.label}.", None, 0.0)
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    pieces, count = label(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    boxes: list[Box] = [
        (top + down.start, left + across.start, top + down.stop, left + across.stop) for down, across in find_objects(pieces)
    ]
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    lesions = [box for box, area in zip(boxes, areas, strict=True) if area >= SMALLEST_LESION]
    if normal:
        yield Finding("lesion on normal", ids, f"The label is {sample.label}, and the mask shows a lesion.", _around(boxes), share)
    if len(lesions) > 1:
        yield Finding("several lesions", ids, f"The mask shows {len(lesions)} lesions.", _around(lesions), float(len(lesions)))
    if share < TINY:
        yield Finding(
            "tiny lesion", ids, f"The lesion has {int(areas.sum())} pixels, {percent(share, 2)} of the scan.", _around(boxes), share
        )
    height, width = mask.shape
    for box in boxes:
        sides = [name for name, meets in zip(("top", "left"), (box[0] == 0, box[1] == 0), strict=True) if meets]
        sides += [name for name, meets in zip(("bottom", "right"), (box[2] == height, box[3] == width), strict=True) if meets]
        if sides:
            yield Finding("mask at the border", ids, f"The mask touches the scan's border ({', '.join(sides)}).", box)


def dice_of_copies(pair: DuplicatePair, one: Mask, other: Mask) -> float:
    """Return the Dice of the masks of two near-duplicates, registered to each other, over the area that both scans show."""
    down, across, top, left = pair.placement
    place = (np.arange(GRID) + 0.5) / GRID
    rows, columns = place * down + top, place * across + left
    shared = np.ix_((rows >= 0) & (rows < 1), (columns >= 0) & (columns < 1))
    here = one[_pixels(place, one.shape[0])][:, _pixels(place, one.shape[1])][shared]
    there = other[_pixels(rows, other.shape[0])][:, _pixels(columns, other.shape[1])][shared]
    return dice(here, there)


def mask_conflict(pair: DuplicatePair, one: Mask, other: Mask) -> Finding | None:
    """Return a finding when two masks of the same scan differ much, else None."""
    dice = dice_of_copies(pair, one, other)
    if dice >= OTHER_OUTLINE:
        return None
    conflict = "only one of them has an outline" if one.any() != other.any() else f"two outlines, Dice {dice:.2f}"
    return Finding("mask conflict", (pair.one, pair.other), f"The same scan twice: {conflict}.", None, round(dice, 4))


def _pixels(fractions: np.ndarray[tuple[int], np.dtype[np.float64]], size: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.clip((fractions * size).astype(np.intp), 0, size - 1)


def _around(boxes: list[Box]) -> Box:
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)


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
            f"The label is {classes[given[index]]} ({percent(table[index, given[index]])}); the prediction without this scan is "
            f"{classes[suggested[index]]} ({percent(table[index, suggested[index]])}).",
            None,
            round(float(by), 4),
        )
        for index, by in sorted(zip(doubtful.tolist(), margin.tolist(), strict=True), key=lambda one: -one[1])
    )


@dataclass(frozen=True)
class Facts:
    """The properties of an image file; the names of the fields are the names of the properties."""

    height: float
    width: float
    aspect: float
    file_format: str
    colour: float
    brightness: float
    sharpness: float


HIGHER = {
    "height": "higher (in pixels)",
    "width": "wider (in pixels)",
    "aspect": "wider for their height",
    "colour": "more often in colour",
    "brightness": "brighter",
    "sharpness": "sharper",
}


def facts(pixels: Pixels, suffix: str) -> Facts:
    """Return the properties of one scan."""
    gray = to_uint8(to_gray(pixels)).astype(np.float32)
    height, width = gray.shape
    coloured = pixels.ndim == 3 and bool((np.ptp(to_uint8(pixels).astype(np.int16), axis=2) > COLOURED).mean() > 0.001)
    # Sharpness is relative to the contrast, because it would otherwise depend on the brightness.
    sharpness = float(_laplace(gray).std() / max(float(gray.std()), 1.0))
    return Facts(height, width, width / height, suffix.lower(), float(coloured), float(gray.mean()), sharpness)


def _laplace(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of the second differences along both axes."""
    wide = np.pad(gray, 1, mode="symmetric")
    return wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:] - 4 * gray


def shortcuts(labels: Sequence[str | None], all_facts: Sequence[Facts]) -> Iterator[Finding]:
    """Yield a finding for each class and property whose AUC is high when the property alone predicts the class."""
    known = [index for index, label in enumerate(labels) if label is not None]
    label = np.array([labels[index] for index in known], dtype=object)
    classes = sorted(set(label))
    for name in classes[:1] if len(classes) == 2 else classes if len(classes) > 2 else []:
        inside = label == name
        for field in HIGHER:
            values = np.array([getattr(all_facts[index], field) for index in known])
            yield from _finding(name, inside, values, field.replace("_", " "), HIGHER[field])
        formats = np.array([all_facts[index].file_format for index in known])
        for suffix in sorted(set(formats)):
            yield from _finding(name, inside, (formats == suffix).astype(float), "file format", f"more often {suffix} files")


def auc(inside: NDArray[np.bool_], values: NDArray[np.float64]) -> float:
    """Return the probability that a member has a higher value than another scan; ties count half."""
    members, others = int(inside.sum()), int((~inside).sum())
    return float((rankdata(values)[inside].sum() - members * (members + 1) / 2) / (members * others))


def _finding(name: str, inside: NDArray[np.bool_], values: NDArray[np.float64], what: str, higher: str) -> Iterator[Finding]:
    members, others = int(inside.sum()), int((~inside).sum())
    area = auc(inside, values)
    error = ((members + others + 1) / (12 * members * others)) ** 0.5
    strength = max(area, 1 - area)
    if strength < SUSPICIOUS or strength - 0.5 < SURE * error:
        return
    which, rest = (f"{name} scans are", "the others") if area > 0.5 else ("the other scans are", name)
    yield Finding(
        "shortcut",
        (),
        f"The {what} alone separates {name} from the others with an AUC of {strength:.2f}: {which} {higher} than {rest}. "
        "A model may learn that instead of the lesion.",
        None,
        round(strength, 4),
    )
