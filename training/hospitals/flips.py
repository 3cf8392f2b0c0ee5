"""Count how often a model's prediction changes when a scan is mirrored, shifted, annotated, compressed or stored with 12 bits.

    python training/hospitals/flips.py BUSI_NATIVE BUS_BRA BUS_UCLM --model bus-multi

The scans are those of the patients that ``bus-multi`` was not trained on, predicted through the public API.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pack import FOLDS, HOSPITALS, open_hospital
from PIL import Image

import bcdseg
from bcdseg import Model, Prediction
from bcdseg.data.images import read_image, to_gray, to_uint8
from bcdseg.training.augment import paint_marks

FOLD, NORMAL = 0, "normal"
Gray = NDArray[np.uint8]


def jpeg(gray: Gray) -> Gray:
    """Return a scan after JPEG compression of quality 50."""
    content = io.BytesIO()
    Image.fromarray(gray).save(content, "JPEG", quality=50)
    return np.asarray(Image.open(content))


CHANGES: dict[str, Callable[[Gray], NDArray[Any]]] = {
    "mirrored left to right": lambda gray: gray[:, ::-1],
    "shifted by one pixel": lambda gray: gray[1:, 1:],
    "calipers and words painted on": lambda gray: paint_marks(gray, np.random.default_rng(int(gray.sum()))),
    "JPEG of quality 50": jpeg,
    "a fifth brighter": lambda gray: np.clip(gray * 1.2, 0, 255).astype(np.uint8),
    "12 bits stored in 16": lambda gray: gray.astype(np.uint16) * 16,
}


@dataclass(frozen=True)
class Outcome:
    """A prediction of a scan, summarised.

    Attributes:
        label: True class.
        predicted: Predicted class.
        shown: Whether any lesion is outlined as a finding.
        warned: Whether the image is reported as unlike a scan.
    """

    label: str
    predicted: str
    shown: bool
    warned: bool

    @classmethod
    def of(cls, label: str, prediction: Prediction) -> Outcome:
        """Summarise a prediction."""
        codes = {flag.code for flag in prediction.flags}
        warned = bool(codes & {"out-of-distribution", "dark", "blank", "saturated"})
        return cls(label, str(prediction.label), bool(prediction.lesions), warned)


def outcomes(model: Model, scans: list[tuple[str, Gray]], change: Callable[[Gray], NDArray[Any]]) -> list[Outcome]:
    """Predict each scan after a change."""
    return [Outcome.of(label, model.predict(np.ascontiguousarray(change(gray)))) for label, gray in scans]


def row(before: list[Outcome], after: list[Outcome]) -> str:
    """Return the cells of a change."""
    flips = [a.predicted != b.predicted for b, a in zip(before, after, strict=True)]
    severe = [{a.predicted, b.predicted} == {"benign", "malignant"} for b, a in zip(before, after, strict=True)]
    normal = [one.shown for one in after if one.label == NORMAL]
    lesion = [not one.shown for one in after if one.label != NORMAL]
    cells = [f"{100 * np.mean(each):.1f} %" for each in (flips, severe)]
    cells += [f"{np.mean(normal):.3f}" if normal else "-", f"{np.mean(lesion):.3f}", f"{np.mean([o.warned for o in after]):.3f}"]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in HOSPITALS:
        parser.add_argument(name.replace("-", "_"), type=Path, help=f"the folder of {name}, at native size")
    parser.add_argument("--model", default="bus-multi")
    options = parser.parse_args()
    model = bcdseg.load(options.model, runtime="torch")
    print("| hospital | change | class flips | benign to malignant or back | false lesions on normals | lesions hidden | warned |")
    print("|---|---|---|---|---|---|---|")
    for hospital in HOSPITALS:
        data, _ = open_hospital(hospital, getattr(options, hospital.replace("-", "_")))
        _, test = bcdseg.folds(data, FOLDS, duplicates=())[FOLD]
        scans = [(str(one.label), to_uint8(to_gray(read_image(one.image)))) for one in test]
        before = outcomes(model, scans, lambda gray: gray)
        print(f"| {hospital} | none | {row(before, before)} |", flush=True)
        for name, change in CHANGES.items():
            print(f"| {hospital} | {name} | {row(before, outcomes(model, scans, change))} |", flush=True)


if __name__ == "__main__":
    main()
