"""Effect of each choice of ``recipe.py``, and of alternatives: differences on the same scans, with 95 % intervals.

    python training/choices.py BUSI256 WORK [--encoder tu-tf_efficientnet_lite0] > table.md

Every row applies the networks of ``cross_validate.py`` in another way, each to its test part: with another size, stage, threshold,
gate or temperature, with mirrored views, or with two stages together. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from calibration import calibrated_by_other_folds
from numpy.typing import NDArray
from options import encoder_parser
from out_of_fold import networks
from recipe import MODEL, SIZE, STAGES, THRESHOLD, resized
from scans import CLASSES, FOLDS, Scans, open_scans
from sklearn.metrics import roc_auc_score

from bcdseg import Model
from bcdseg.data.images import read_image
from bcdseg.data.masks import read_mask
from bcdseg.evaluation.metrics.calibration import calibration_error
from bcdseg.inference.lesions import find_lesions
from bcdseg.types import Mask, Sample

Values = NDArray[np.float64]
FIRST, LAST = STAGES[0].size, STAGES[-1].size
MEASURES = ("lesion Dice", "lesions missed", "false on normals", "balanced accuracy", "malignant AUC", "calibration error")
DRAWS, MISSED = 1000, 0.05


@dataclass(frozen=True)
class View:
    """A forward pass: the network of a stage applied to a scan, or to its mirror image, at some size.

    Attributes:
        stage: Input size of the stage in training.
        size: Input size of the prediction.
        mirrored: Whether the scan is mirrored left to right.
        own_temperature: Whether the temperature is fitted to the network's validation part instead of the other folds.
    """

    stage: int = LAST
    size: int = SIZE
    mirrored: bool = False
    own_temperature: bool = False


@dataclass(frozen=True)
class Choice:
    """One way to predict: the mean of some views, gated by the class or not, with a threshold of the mask."""

    name: str
    views: tuple[View, ...] = (View(),)
    gated: bool = True
    threshold: float = THRESHOLD


def _mirrored_too(*views: View) -> tuple[View, ...]:
    return (*views, *(replace(view, mirrored=True) for view in views))


TRAINED, SMALL, EARLIER = View(size=LAST), View(size=FIRST), View(FIRST, FIRST)
CHOICES = (
    Choice("as released"),
    Choice("no gate, threshold 0.5", gated=False, threshold=0.5),
    Choice("threshold 0.15", threshold=0.15),
    Choice("threshold 0.35", threshold=0.35),
    Choice("temperature from its own validation part", (View(own_temperature=True),)),
    Choice(f"at {LAST}, as trained", (TRAINED,)),
    Choice(f"at {FIRST}", (SMALL,)),
    Choice("the first stage alone", (EARLIER,)),
    Choice("mirrored too", _mirrored_too(View())),
    Choice(f"at {LAST} and mirrored too", _mirrored_too(View(), TRAINED)),
    Choice("the first stage and mirrored too", _mirrored_too(View(), EARLIER)),
)


@dataclass(frozen=True)
class ViewOutput:
    """Output of a view: calibrated class probabilities, the gate without calibration, and the ungated map of probabilities."""

    classes: Values
    gate: float
    probable: NDArray[np.float16]


@dataclass(frozen=True)
class ScanOutputs:
    """A scan, the output of each view, and the smallest lesion that is reported, as a fraction of the scan."""

    label: int
    truth: Mask
    outputs: Mapping[View, ViewOutput]
    smallest: float


def predict_scans(scans: Scans, folder: Path) -> Iterator[ScanOutputs]:
    """Predict every scan that is measured with the networks that were not trained on it."""
    stages = {LAST: networks(folder), FIRST: networks(folder, part=f"{FIRST}/{MODEL}")}
    views = dict.fromkeys(view for choice in CHOICES for view in choice.views)
    unmirrored = dict.fromkeys(replace(view, mirrored=False) for view in views)
    ungated = {view: _ungated(scans, stages[view.stage], view) for view in unmirrored}
    for fold in range(FOLDS):
        models = {view: ungated[replace(view, mirrored=False)][fold] for view in views}
        for sample in scans.fold(fold)[2]:
            yield _outputs(sample, models)


def _ungated(scans: Scans, models: Mapping[int, Model], view: View) -> dict[int, Model]:
    """Return copies at the size of a view, without a gate."""
    copies = {fold: resized(model, view.size) for fold, model in models.items()}
    for model in copies.values():
        model.network.config = replace(model.network.config, gated=False)
    return copies if view.own_temperature else calibrated_by_other_folds(scans, copies)


def _outputs(sample: Sample, models: Mapping[View, Model]) -> ScanOutputs:
    pixels, outputs = read_image(sample.image), {}
    for view, model in models.items():
        found = model.predict(pixels[:, ::-1].copy() if view.mirrored else pixels)
        assert found.mask_probability is not None
        probable = found.mask_probability[:, ::-1] if view.mirrored else found.mask_probability
        classes = np.array([found.probabilities[name] for name in CLASSES])
        uncalibrated = classes**model.rules.temperature
        outputs[view] = ViewOutput(classes, float(uncalibrated[1:].sum() / uncalibrated.sum()), probable.astype(np.float16))
    assert sample.label is not None
    truth, smallest = read_mask(sample.masks, pixels.shape[:2]), models[View()].rules.min_lesion_share
    return ScanOutputs(CLASSES.index(sample.label), truth, outputs, smallest)


def score(scan: ScanOutputs, choice: Choice) -> tuple[float, Values]:
    """Return the Dice of a scan with a lesion, or whether a normal scan has an outline; and the class probabilities."""
    outputs = [scan.outputs[view] for view in choice.views]
    classes = np.mean([one.classes for one in outputs], axis=0)
    probable = np.mean([one.probable * np.float32(one.gate if choice.gated else 1) for one in outputs], axis=0)
    mask, _ = find_lesions(probable >= choice.threshold, probable, min_share=scan.smallest, spacing=None)
    if scan.label == 0:
        return float(mask.any()), classes
    return 2 * float((mask & scan.truth).sum()) / max(1, float(mask.sum() + scan.truth.sum())), classes


def measured(label: NDArray[np.int64], outline: Values, classes: Values) -> Values:
    """Return the values of ``MEASURES``."""
    lesion, right = label > 0, classes.argmax(axis=1) == label
    recalls = [right[label == number].mean() for number in range(len(CLASSES))]
    auc = roc_auc_score(label == CLASSES.index("malignant"), classes[:, CLASSES.index("malignant")])
    ece = float(calibration_error(right, classes.max(axis=1))[0])
    dice = outline[lesion]
    return np.array([dice.mean(), (dice < MISSED).mean(), outline[~lesion].mean(), np.mean(recalls), auc, ece])


def rows(scans: Sequence[ScanOutputs]) -> Iterator[str]:
    """Yield the lines of the table: each value, and its difference from that of the first choice."""
    label = np.array([scan.label for scan in scans])
    drawn = np.random.default_rng(0).integers(0, len(scans), (DRAWS, len(scans)))
    draws = [at for at in drawn if len(np.unique(label[at])) == len(CLASSES)]  # a draw of few scans may lack a class
    yield f"| | {' | '.join(MEASURES)} |\n|---|{'---|' * len(MEASURES)}"
    base: list[Values] = []
    for choice in CHOICES:
        outline, classes = (np.array(part) for part in zip(*(score(scan, choice) for scan in scans), strict=True))
        found = [measured(label[at], outline[at], classes[at]) for at in (np.arange(len(scans)), *draws)]
        base = base or found
        apart = np.array(found) - np.array(base)
        low, high = np.percentile(apart[1:], [2.5, 97.5], axis=0)
        cells = [
            f"{value:.3f}" + (f" ({by:+.3f}: {least:+.3f} to {most:+.3f})" if most > least else "")
            for value, by, least, most in zip(found[0], apart[0], low, high, strict=True)
        ]
        yield f"| {choice.name} | {' | '.join(cells)} |"


def main() -> None:
    options = encoder_parser(__doc__).parse_args()
    for row in rows(list(predict_scans(open_scans(options.data), options.work / options.encoder))):
        print(row)


if __name__ == "__main__":
    main()
