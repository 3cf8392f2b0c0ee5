"""File properties that predict the class without the tissue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bcdseg.data.images import to_gray, to_uint8
from bcdseg.data_audit.finding import Finding
from bcdseg.types import Pixels

SUSPICIOUS = 0.65  # AUC from which a property is reported
SURE = 3.0  # standard errors: least distance of the AUC above chance level
COLOURED = 12  # difference in levels between a pixel's channels above which it is coloured


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
