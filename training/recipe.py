"""Training of a network of the comparison: mostly on small scans, which is cheap, then on larger ones; prediction in between."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from scans import CLASSES, smallest_lesion

import bcdseg
from bcdseg import Dataset, Model

MODEL = "model"  # the folder of the finished network, within that of its runs


@dataclass(frozen=True)
class Stage:
    """Training at one size.

    Attributes:
        size: Height and width.
        epochs: Number of epochs.
        lr: Highest learning rate.
    """

    size: int
    epochs: int
    lr: float


STAGES = (Stage(128, 30, 1.5e-3), Stage(192, 12, 5e-4))
SIZE = 160  # input size of prediction: somewhat below that of training, classification is better and cheaper
THRESHOLD = 0.25  # of a pixel's probability after the gate, which suppresses outlines on normal scans


def train(
    encoder: str, weights: str | None, parts: tuple[Dataset, Dataset], out: Path, *, seed: int, precision: str = "auto"
) -> Model:
    """Train one network in all stages; each starts from the best epoch of the stage before. A stopped run resumes."""
    model = bcdseg.create(encoder, classes=CLASSES, weights=weights, size=STAGES[0].size)
    warnings.simplefilter("ignore", bcdseg.errors.LeakWarning)  # a later stage trains on the scans of the one before, on purpose
    for stage in STAGES:
        print(f"{out.name}: {stage}", flush=True)
        run = bcdseg.fit(
            resized(model, stage.size),
            *parts,
            out=out / str(stage.size),
            resume=True,
            epochs=stage.epochs,
            lr=stage.lr,
            seed=seed,
            precision=precision,
            pictures=False,
        )
        model = run.model
    model = _for_prediction(model, *parts)
    model.save(out / MODEL, overwrite=True)
    return model


def resized(model: Model, size: int) -> Model:
    """Return a copy with another height and width of the input."""
    preprocessing = replace(model.preprocessing, size=(size, size))
    return Model(copy.deepcopy(model.network), preprocessing, model.rules, training=model.training, name=model.name)


def _for_prediction(model: Model, train_part: Dataset, val: Dataset) -> Model:
    """Return a trained model with the input size, the gate and the rules of prediction."""
    model = resized(model, SIZE)
    model.network.config = replace(model.network.config, gated=True)
    smallest = round(smallest_lesion(train_part) / 2, 4)  # smaller components are removed
    model.rules = replace(model.rules, threshold=THRESHOLD, min_lesion_share=smallest)
    return bcdseg.calibrate(model, val)
