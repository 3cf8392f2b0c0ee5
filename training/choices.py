"""What each choice of ``recipe.py`` gives, and what was left out of it: differences on the same scans, with 95 % intervals.

    python training/choices.py BUSI256 WORK [--encoder tu-tf_efficientnet_lite0] > table.md

Every row is another reading of the networks of ``cross_validate.py``, each on the fold that it is blind to: another size,
stage, threshold, gate or temperature, mirrored views, two stages together. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from calibration import calibrated_by_others
from numpy.typing import NDArray
from options import parser_for_one
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
class Look:
    """What the network of a stage says of a scan at some size, or of the scan mirrored.

    Attributes:
        stage: Its size in training.
        size: At which it answers.
        mirrored: Whether left and right change places.
        own_temperature: Whether that of the part which chose the epoch, instead of the other folds' answers.
    """

    stage: int = LAST
    size: int = SIZE
    mirrored: bool = False
    own_temperature: bool = False


@dataclass(frozen=True)
class Choice:
    """One way to come to an answer: the mean of some looks, gated by the class or not, from a threshold on."""

    name: str
    looks: tuple[Look, ...] = (Look(),)
    gated: bool = True
    threshold: float = THRESHOLD


def _mirrored_too(*looks: Look) -> tuple[Look, ...]:
    return (*looks, *(replace(look, mirrored=True) for look in looks))


TRAINED, SMALL, EARLIER = Look(size=LAST), Look(size=FIRST), Look(FIRST, FIRST)
CHOICES = (
    Choice("as released"),
    Choice("no gate, threshold 0.5", gated=False, threshold=0.5),
    Choice("threshold 0.15", threshold=0.15),
    Choice("threshold 0.35", threshold=0.35),
    Choice("temperature from its own validation part", (Look(own_temperature=True),)),
    Choice(f"at {LAST}, as trained", (TRAINED,)),
    Choice(f"at {FIRST}", (SMALL,)),
    Choice("the first stage alone", (EARLIER,)),
    Choice("mirrored too", _mirrored_too(Look())),
    Choice(f"at {LAST} and mirrored too", _mirrored_too(Look(), TRAINED)),
    Choice("the first stage and mirrored too", _mirrored_too(Look(), EARLIER)),
)


@dataclass(frozen=True)
class Said:
    """What a look at a scan came to: calibrated class probabilities, the gate as the network itself has it, the ungated map."""

    classes: Values
    gate: float
    probable: NDArray[np.float16]


@dataclass(frozen=True)
class Seen:
    """A scan, the outputs at each size, and the smallest lesion that is reported, as a fraction of the scan."""

    label: int
    truth: Mask
    said: Mapping[Look, Said]
    smallest: float


def seen(scans: Scans, folder: Path) -> Iterator[Seen]:
    """Every scan that is measured, by the networks that are blind to it."""
    stages = {LAST: networks(folder), FIRST: networks(folder, part=f"{FIRST}/{MODEL}")}
    looks = dict.fromkeys(look for choice in CHOICES for look in choice.looks)
    straight = dict.fromkeys(replace(look, mirrored=False) for look in looks)
    ready = {look: _ready(scans, stages[look.stage], look) for look in straight}
    for fold in range(FOLDS):
        models = {look: ready[replace(look, mirrored=False)][fold] for look in looks}
        for sample in scans.fold(fold)[2]:
            yield _seen(sample, models)


def _ready(scans: Scans, models: Mapping[int, Model], look: Look) -> dict[int, Model]:
    """Copies without a gate."""
    copies = {fold: resized(model, look.size) for fold, model in models.items()}
    for model in copies.values():
        model.network.config = replace(model.network.config, gated=False)
    return copies if look.own_temperature else calibrated_by_others(scans, copies)


def _seen(sample: Sample, models: Mapping[Look, Model]) -> Seen:
    pixels, said = read_image(sample.image), {}
    for look, model in models.items():
        found = model.predict(pixels[:, ::-1].copy() if look.mirrored else pixels)
        assert found.mask_probability is not None
        probable = found.mask_probability[:, ::-1] if look.mirrored else found.mask_probability
        classes = np.array([found.probabilities[name] for name in CLASSES])
        uncalibrated = classes**model.rules.temperature
        said[look] = Said(classes, float(uncalibrated[1:].sum() / uncalibrated.sum()), probable.astype(np.float16))
    assert sample.label is not None
    truth, smallest = read_mask(sample.masks, pixels.shape[:2]), models[Look()].rules.min_lesion_share
    return Seen(CLASSES.index(sample.label), truth, said, smallest)


def judged(scan: Seen, choice: Choice) -> tuple[float, Values]:
    """Dice of a scan with a lesion, whether anything is outlined of another; and the class probabilities."""
    said = [scan.said[look] for look in choice.looks]
    classes = np.mean([one.classes for one in said], axis=0)
    probable = np.mean([one.probable * np.float32(one.gate if choice.gated else 1) for one in said], axis=0)
    mask, _ = find_lesions(probable >= choice.threshold, probable, min_share=scan.smallest, spacing=None)
    if scan.label == 0:
        return float(mask.any()), classes
    return 2 * float((mask & scan.truth).sum()) / max(1, float(mask.sum() + scan.truth.sum())), classes


def measured(label: NDArray[np.int64], outline: Values, classes: Values) -> Values:
    """The values of ``MEASURES``."""
    lesion, right = label > 0, classes.argmax(axis=1) == label
    recalls = [right[label == number].mean() for number in range(len(CLASSES))]
    auc = roc_auc_score(label == CLASSES.index("malignant"), classes[:, CLASSES.index("malignant")])
    ece = float(calibration_error(right, classes.max(axis=1))[0])
    dice = outline[lesion]
    return np.array([dice.mean(), (dice < MISSED).mean(), outline[~lesion].mean(), np.mean(recalls), auc, ece])


def rows(scans: Sequence[Seen]) -> Iterator[str]:
    """The table: each value, and how far it is from that of the first choice."""
    label = np.array([scan.label for scan in scans])
    drawn = np.random.default_rng(0).integers(0, len(scans), (DRAWS, len(scans)))
    draws = [at for at in drawn if len(np.unique(label[at])) == len(CLASSES)]  # of few scans a draw may miss a class
    yield f"| | {' | '.join(MEASURES)} |\n|---|{'---|' * len(MEASURES)}"
    base: list[Values] = []
    for choice in CHOICES:
        outline, classes = (np.array(part) for part in zip(*(judged(scan, choice) for scan in scans), strict=True))
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
    asked = parser_for_one(__doc__)
    options = asked.parse_args()
    for row in rows(list(seen(open_scans(options.data), options.work / options.encoder))):
        print(row)


if __name__ == "__main__":
    main()
