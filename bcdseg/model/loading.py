"""Loading of saved models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from bcdseg import __version__
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import ModelFileError, ModelNotFoundError
from bcdseg.files import restore
from bcdseg.inference.rules import Rules
from bcdseg.model.io import CONFIG, FORMAT, FORMAT_VERSION, MOST_CONFIG, WEIGHTS
from bcdseg.model.model import Model
from bcdseg.model.weights_file import check_weights_file
from bcdseg.networks.ensemble import AnyNetwork, rebuild
from bcdseg.networks.pretrained import Unfilled


def load_model(folder: Path, *, name: str, device: str = "auto") -> Model:
    """Load a model from a folder; each kind of damage has its own error message."""
    config = _read_config(folder)
    try:
        return _load(folder, config, name, device)
    except ModelFileError:
        new = _read_config(folder)  # the model may have been replaced in the meantime
        if new == config:
            raise
        return _load(folder, new, name, device)


def _load(folder: Path, config: dict[str, Any], name: str, device: str) -> Model:
    """Load a model from its config; the network is built first, because its tensors limit what is read from the weights file."""
    try:
        with Unfilled():
            network = rebuild(config["network"])
        preprocessing = Preprocessing.from_dict(config["preprocessing"])
        rules = Rules.from_dict(config["rules"])
        model = Model(network.eval(), preprocessing, rules, training=config.get("training"), name=name, device=device)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise ModelFileError(f"{folder / CONFIG}: describes a model that can't be built ({error}).") from error
    weights = _read_weights(folder, config, network)
    try:
        network.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in weights.items()})
    except RuntimeError as error:
        raise ModelFileError(f"{folder}: {WEIGHTS} and {CONFIG} are of different models ({str(error).splitlines()[0]}).") from error
    return model


def _read_config(folder: Path) -> dict[str, Any]:
    if not restore(folder) or not folder.is_dir():
        raise ModelNotFoundError(f"{folder}: no such model folder.")
    path = folder / CONFIG
    if not path.is_file():
        inside = next(folder.glob(f"*/{CONFIG}"), None)
        hint = f" Do you mean {inside.parent}?" if inside else ""
        raise ModelFileError(f"{folder}: holds no {CONFIG}, so it is not a model saved by bcdseg.{hint}")
    if path.stat().st_size > MOST_CONFIG:
        raise ModelFileError(f"{path}: has {path.stat().st_size} bytes, and no model's config has more than {MOST_CONFIG}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: is damaged, not valid JSON ({error}).") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelFileError(f"{path}: is another program's; a bcdseg model says format {FORMAT!r} there.")
    version = config.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path}: has the format version {version!r}, which no bcdseg ever wrote.")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: has format version {version}, this library ({__version__}) reads {FORMAT_VERSION}. "
            f"It was made by bcdseg {config.get('library_version')}: pip install --upgrade bcdseg."
        )
    return config


def _read_weights(folder: Path, config: dict[str, Any], network: AnyNetwork) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelFileError(f"{folder}: {WEIGHTS} is missing. Copy the whole folder.")
    check_weights_file(path, network.state_dict(), CONFIG)
    content = path.read_bytes()
    weights = config.get("weights")
    expected = weights.get("sha256") if isinstance(weights, dict) else None
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelFileError(f"{path}: is truncated or damaged, its checksum is not the one in {CONFIG}. Copy the folder again.")
    try:
        return load(content)
    except SafetensorError as error:
        raise ModelFileError(f"{path}: is not a safetensors file ({error}).") from error
