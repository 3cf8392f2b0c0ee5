"""Saving of models: weights as safetensors, a configuration as JSON, and a model card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save

from bcdseg import __version__
from bcdseg.errors import OptionError, OutputExistsError
from bcdseg.files import restore, write_folder
from bcdseg.model.weights_file import CONFIG, FORMAT, FORMAT_VERSION, WEIGHTS
from bcdseg.networks.network import check_rebuildable

if TYPE_CHECKING:
    from bcdseg.model.model import Model

CARD = "README.md"


def save_model(model: Model, folder: Path, *, half: bool, overwrite: bool) -> Path:
    """Save a model to a folder; see ``Model.save``."""
    check_rebuildable(model.network)
    folder = folder.resolve()
    restore(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder}: is a file. A model is saved as a folder: choose another name.")
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if there - {CONFIG, WEIGHTS, CARD}:
        raise OutputExistsError(f"{folder}: holds other files than a model's, and is not replaced. Choose another folder.")
    if there and not overwrite:
        raise OutputExistsError(f"{folder}: exists already. Choose another folder, or save(..., overwrite=True).")
    return write_folder(folder, _contents(model, half))


def _contents(model: Model, half: bool) -> dict[str, bytes]:
    state = {key: _stored(value, half) for key, value in model.network.state_dict().items()}
    weights = save(state, metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "network": asdict(model.network.config),
        "preprocessing": asdict(model.preprocessing),
        "rules": asdict(model.rules),
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest(), "stored_as": "float16" if half else "float32"},
        "training": model.training,
    }
    return {WEIGHTS: weights, CONFIG: (json.dumps(config, indent=2) + "\n").encode(), CARD: model.card.encode()}


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    value = value.detach().cpu().contiguous()
    if not half or not value.is_floating_point():
        return value
    if not torch.isfinite(value.half()).all():
        raise OptionError("half=True can't hold this model's weights: some are too large for 16 bits. Use half=False.")
    return value.half()
