"""How a network of the comparison is made: trained mostly on small scans, which is cheap, then on larger ones; answers between."""

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
        epochs: Times that every scan is seen.
        lr: Highest learning rate.
    """

    size: int
    epochs: int
    lr: float


STAGES = (Stage(128, 30, 1.5e-3), Stage(192, 12, 5e-4))
SIZE = 160  # at which it answers: somewhat smaller than it has learned at it classifies better, and costs less
THRESHOLD = 0.25  # of a pixel's probability, which the class gates: what is surely normal has no outline


def train(
    encoder: str, weights: str | None, parts: tuple[Dataset, Dataset], out: Path, *, seed: int, precision: str = "auto"
) -> Model:
    """One network through all stages; each begins with the best epoch of the one before. A stopped run resumes."""
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
    model = _answering(model, *parts)
    model.save(out / MODEL, overwrite=True)
    return model


def resized(model: Model, size: int) -> Model:
    """A copy that sees scans at another height and width."""
    preprocessing = replace(model.preprocessing, size=(size, size))
    return Model(copy.deepcopy(model.network), preprocessing, model.rules, training=model.training, name=model.name)


def _answering(model: Model, learned_from: Dataset, chosen_by: Dataset) -> Model:
    """What was trained, with the size, the gate and the rules that it answers with."""
    model = resized(model, SIZE)
    model.network.config = replace(model.network.config, gated=True)
    smallest = round(smallest_lesion(learned_from) / 2, 4)  # smaller components are removed
    model.rules = replace(model.rules, threshold=THRESHOLD, min_lesion_share=smallest)
    return bcdseg.calibrate(model, chosen_by)
