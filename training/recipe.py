"""How a network of the comparison is trained: mostly on small scans, which is cheap, then at its own size."""

from __future__ import annotations

import copy
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
THRESHOLD = 0.45  # of a pixel's probability, which the class gates: what is surely normal has no outline


def train(
    encoder: str, weights: str | None, parts: tuple[Dataset, Dataset], out: Path, *, seed: int, precision: str = "auto"
) -> Model:
    """One network through all stages; each begins with the best epoch of the one before. Stopped, it goes on where it was."""
    model = bcdseg.create(encoder, classes=CLASSES, weights=weights, size=STAGES[0].size)
    for stage in STAGES:
        print(f"{out.name}: {stage}", flush=True)
        run = bcdseg.fit(
            _made_for(stage, model),
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
    model = _gated(model, smallest_lesion(parts[0]))
    model.save(out / MODEL, overwrite=True)
    return model


def _gated(model: Model, smallest: float) -> Model:
    network = copy.deepcopy(model.network)
    network.config = replace(network.config, gated=True)
    rules = replace(model.rules, threshold=THRESHOLD, min_lesion_share=round(smallest / 2, 4))  # what is smaller is a speck
    return Model(network, model.preprocessing, rules, training=model.training, name=model.name)


def _made_for(stage: Stage, model: Model) -> Model:
    preprocessing = replace(model.preprocessing, size=(stage.size, stage.size))
    return Model(copy.deepcopy(model.network), preprocessing, model.rules, training=model.training, name=model.name)
