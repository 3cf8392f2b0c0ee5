"""Loading of models from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bcdseg import __version__
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import ModelFileError, ModelNotFoundError
from bcdseg.files import restore
from bcdseg.inference.rules import Rules
from bcdseg.model.model import Model
from bcdseg.model.weights_file import CONFIG, FORMAT, FORMAT_VERSION, WEIGHTS, SavedNetwork
from bcdseg.networks.config import config_from_dict

MOST_CONFIG = 256 * 2**20  # bytes, enough for the hashes of some million training scans


def load_model(
    folder: Path, *, name: str, device: str = "auto", runtime: str = "torch", precision: str = "auto", calibrate_on: Any = None
) -> Model:
    """Load a model from a folder; each kind of damage has its own error message.

    Where the cache has a graph for the runtime, the weights file is only compared with its checksum: the network is built, and
    torch imported, when ``Model.network`` is first used.
    """
    config = _read_config(folder)
    options = {"runtime": runtime, "precision": precision, "calibrate_on": calibrate_on}
    try:
        return _load(folder, config, name, device, options)
    except ModelFileError:
        new = _read_config(folder)  # the model may have been replaced in the meantime
        if new == config:
            raise
        return _load(folder, new, name, device, options)


def _load(folder: Path, config: dict[str, Any], name: str, device: str, options: dict[str, Any]) -> Model:
    path, weights = folder / WEIGHTS, config.get("weights")
    if not path.is_file():
        raise ModelFileError(f"{folder}: {WEIGHTS} is missing. Copy the whole folder.")
    sha256 = str(weights.get("sha256")) if isinstance(weights, dict) else ""
    try:
        network_config = config_from_dict(config["network"])
        saved = SavedNetwork(config=network_config, folder=folder, sha256=sha256, size=path.stat().st_size)
        preprocessing = Preprocessing.from_dict(config["preprocessing"])
        rules = Rules.from_dict(config["rules"])
        model = Model(saved, preprocessing, rules, training=config.get("training"), name=name, device=device)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        raise ModelFileError(f"{folder / CONFIG}: describes a model that can't be built ({error}).") from error
    model.run_on(**options)
    model.read_weights()
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
