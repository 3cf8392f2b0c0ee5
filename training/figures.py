"""The figures of a model on scans that nobody who trained it has seen, with 95 % bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import bcdseg

DRAWS = 2000
Columns = dict[str, np.ndarray]


def predict_all(model: bcdseg.Model, folder: Path, names: Sequence[str]) -> Columns:
    """One row a scan: truth, probabilities, Dice, whether anything is outlined, whether the answers contradict each other."""
    rows = []
    for name, scan in zip(names, model.predict([folder / name for name in names]), strict=True):
        with Image.open(folder / name.replace(".png", "_mask.png")) as file:
            truth = np.asarray(file.convert("L")) > 127
        probabilities = list(scan.probabilities.values())
        codes = {flag.code for flag in scan.flags}
        rows.append(
            (
                model.classes.index(name.split("/")[0]),
                probabilities,
                dice(scan.mask, truth),
                scan.mask.any(),
                bool(codes & {"no-outline", "outlined-but-no-lesion"}),
            )
        )
    names_of = ("label", "probability", "dice", "outlined", "contradiction")
    return {name: np.array(column) for name, column in zip(names_of, zip(*rows, strict=True), strict=True)}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Two empty masks agree (1); one empty mask is a miss (0)."""
    total = int(one.sum()) + int(other.sum())
    return 1.0 if total == 0 else 2 * int((one & other).sum()) / total


def calibration_error(rows: Columns, bins: int = 10) -> float:
    """Expected calibration error of the chosen class, over equally wide bins."""
    confidence, right = rows["probability"].max(axis=1), rows["probability"].argmax(axis=1) == rows["label"]
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[bin_of == b].mean() - right[bin_of == b].mean()) * (bin_of == b).mean() for b in np.unique(bin_of)]
    return float(sum(gaps))


def _lesion(rows: Columns) -> np.ndarray:
    return rows["label"] > 0


MEASURES: dict[str, Callable[[Columns], float]] = {
    "lesion Dice, mean": lambda r: r["dice"][_lesion(r)].mean(),
    "lesion Dice, median": lambda r: np.median(r["dice"][_lesion(r)]),
    "Dice on benign": lambda r: r["dice"][r["label"] == 1].mean(),
    "Dice on malignant": lambda r: r["dice"][r["label"] == 2].mean(),
    "lesions missed (Dice 0)": lambda r: (r["dice"][_lesion(r)] == 0).mean(),
    "normals with a false lesion": lambda r: r["outlined"][~_lesion(r)].mean(),
    "normals called normal": lambda r: (r["probability"].argmax(axis=1) == 0)[~_lesion(r)].mean(),
    "three-class accuracy": lambda r: (r["probability"].argmax(axis=1) == r["label"]).mean(),
    "three-class balanced accuracy": lambda r: balanced_accuracy_score(r["label"], r["probability"].argmax(axis=1)),
    "sensitivity for malignant": lambda r: (r["probability"].argmax(axis=1) == 2)[r["label"] == 2].mean(),
    "AUC malignant against rest": lambda r: roc_auc_score(r["label"] == 2, r["probability"][:, 2]),
    "AUC malignant against benign": lambda r: roc_auc_score(
        r["label"][_lesion(r)] == 2, (r["probability"][:, 2] / r["probability"][:, 1:].sum(axis=1))[_lesion(r)]
    ),
    "expected calibration error": calibration_error,
    "class and outline contradict each other": lambda r: r["contradiction"].mean(),
}


def figures(rows: Columns) -> dict[str, str]:
    """Each measure with its interval; the bootstrap draws within classes, so that none is ever missing."""
    rng = np.random.default_rng(0)
    classes = [np.flatnonzero(rows["label"] == label) for label in range(3)]
    draws = [np.concatenate([rng.choice(members, len(members)) for members in classes]) for _ in range(DRAWS)]
    found = {}
    for name, measure in MEASURES.items():
        values = [measure({column: values[draw] for column, values in rows.items()}) for draw in draws]
        low, high = np.percentile(values, [2.5, 97.5])
        found[name] = f"{measure(rows):.3f} ({low:.3f} to {high:.3f})"
    return found
