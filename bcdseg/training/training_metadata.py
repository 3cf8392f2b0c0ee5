"""Training metadata of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bcdseg import __version__
from bcdseg.evaluation.training_overlap import remember_scans
from bcdseg.model.registry import joint_training_overlap
from bcdseg.training.finetune import INHERITED
from bcdseg.training.plan import TrainingPlan

PACKAGES = ("torch", "pytorch-lightning", "segmentation-models-pytorch", "timm", "monai", "albumentations")
FIGURES = {
    "val_dice": "Dice of lesions",
    "val_clean": "scans without a lesion in which nothing is outlined",
    "val_balanced_accuracy": "balanced accuracy",
    "joint": "joint score",
}


def training_record(plan: TrainingPlan, history: Sequence[Mapping[str, float]], best: int) -> dict[str, Any]:
    """Return the record of a run whose best epoch is known, of JSON types only, and without the name of any scan."""
    row, config, start = history[best - 1], plan.config, plan.model
    changed = ", ".join(f"{name}={value!r}" for name, value in config.changed().items())
    return {
        "summary": f"Trained with bcdseg {__version__} on {plan.train.name}.",
        "data": {"training": f"{plan.train.name}: {plan.train_counts}", "validation": f"{plan.val.name}: {plan.val_counts}"},
        "method": {
            "begun from": start.name,
            "options that differ from the defaults": changed or "none",
            **{f"own {option}": name for option, name in plan.custom.description.items()},
            "epochs": f"{len(history)} of {config.epochs}; the weights are those of epoch {best}",
            "calibration": "temperature and confidence threshold, on the validation scans" if config.calibrate else "none",
            "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        },
        "measured on": "The validation scans, at the network's size. They chose the epoch, so the figures are too good for others.",
        "figures": {f"{name} (validation)": f"{value:.3f}" for name, value in figures(row).items()},
        **{name: start.training[name] for name in INHERITED if name in start.training},
        "seen": joint_training_overlap([start], also=remember_scans(plan.train, plan.val)),
    }


def figures(row: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of an epoch under readable names."""
    return {name: row[key] for key, name in FIGURES.items() if key in row}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
