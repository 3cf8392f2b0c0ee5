"""What a trained model says of its training: the contents of its card."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bcdseg import __version__
from bcdseg.data.dataset import Dataset
from bcdseg.evaluate.seen import remember
from bcdseg.train.config import FitConfig
from bcdseg.train.inputs import Inputs

PACKAGES = ("torch", "pytorch-lightning", "segmentation-models-pytorch", "timm", "monai", "albumentations")
FIGURES = {
    "val_dice": "Dice of lesions",
    "val_clean": "scans without a lesion in which nothing is outlined",
    "val_balanced_accuracy": "balanced accuracy",
    "joint": "joint score",
}


def training_record(
    train: tuple[Dataset, Inputs],
    val: tuple[Dataset, Inputs],
    *,
    start: str,
    config: FitConfig,
    history: tuple[Mapping[str, float], ...],
    best: int,
) -> dict[str, Any]:
    """The record, of JSON types only, and without the name of any scan."""
    row = history[best - 1]
    changed = ", ".join(f"{name}={value!r}" for name, value in config.changed().items())
    return {
        "summary": f"Trained with bcdseg {__version__} on {train[0].name}.",
        "data": {"training": f"{train[0].name}: {train[1]}", "validation": f"{val[0].name}: {val[1]}"},
        "method": {
            "begun from": start,
            "options that differ from the defaults": changed or "none",
            "epochs": f"{len(history)} of {config.epochs}; the weights are those of epoch {best}",
            "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        },
        "measured on": "The validation scans, at the network's size. They chose the epoch, so the figures are too good for others.",
        "figures": {f"{name} (validation)": f"{row[key]:.3f}" for key, name in FIGURES.items() if key in row},
        "seen": remember(train[0], val[0]),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
