"""Loading of models by name or folder, the bundled models, and the training scans of several models."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcdseg import __version__
from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import ModelFileError, ModelNotFoundError, OptionError
from bcdseg.files import restore
from bcdseg.inference.rules import Rules
from bcdseg.messages import warn_caller
from bcdseg.model.model import Model
from bcdseg.model.network_source import CONFIG, FORMAT, FORMAT_VERSION, WEIGHTS, SavedNetwork
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
    if not restore(folder):
        raise ModelNotFoundError(f"{folder}: no such model folder.")
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"{folder}: is a file, and a model is a folder that Model.save wrote. Exported files run without this library."
        )
    path = folder / CONFIG
    if not path.is_file():
        inside = next(folder.glob(f"*/{CONFIG}"), None)
        hint = f" Do you mean {inside.parent}?" if inside else ""
        raise ModelFileError(f"{folder}: contains no {CONFIG}, so it is not a model saved by bcdseg.{hint}")
    if path.stat().st_size > MOST_CONFIG:
        raise ModelFileError(f"{path}: has {path.stat().st_size} bytes, and no model's config has more than {MOST_CONFIG}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: is damaged, not valid JSON ({error}).") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelFileError(f"{path}: belongs to another program; a bcdseg model has the format {FORMAT!r} there.")
    version = config.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path}: has the format version {version!r}, which no bcdseg ever wrote.")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: has format version {version}, this library ({__version__}) reads {FORMAT_VERSION}. "
            f"It was made by bcdseg {config.get('library_version')}: pip install --upgrade bcdseg."
        )
    return config


BUNDLED = Path(__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Metadata of a model that is bundled with the package, available without loading it.

    Attributes:
        name: Name for ``bcdseg.load``.
        summary: Description of the model in one sentence.
        encoder: Encoder of the network.
        classes: Names of the classes.
        preprocessing: Preprocessing of scans before the network.
        file: Path of the weights file.
        sha256: SHA-256 checksum of that file, which is verified at each load.
        licence: Licence of weights and data.
        citation: Papers to cite.
    """

    name: str
    summary: str
    encoder: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    file: Path
    sha256: str
    licence: str
    citation: str

    @property
    def megabytes(self) -> float:
        """Size of the weights file in megabytes."""
        return self.file.stat().st_size / 1e6


def load(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    device: str = "auto",
    runtime: str = "auto",
    precision: str = "auto",
    calibrate_on: Any = None,
) -> Model:
    """Load a model.

    Args:
        name: Name of a bundled model, a folder written by ``Model.save``, or ``hf://owner/name`` for a model on the Hugging Face
            Hub, the only case with a download. By default the default bundled model; ``bcdseg models`` marks it.
        device: Device of predictions: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        runtime: Name of the runtime: ``torch``, ``compile``, ``openvino`` or ``onnxruntime``; ``auto`` is the fastest that is
            installed. See ``Model.run_on``.
        precision: Name of the precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; the last two are faster and agree slightly less.
            ``auto`` is ``fp16`` on CUDA, where it agrees with ``fp32``, and ``fp32`` elsewhere.
        calibrate_on: Some dozens of scans for the calibration of int8 ranges; any source of ``predict``.

    Returns:
        The loaded model.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFileError: The model is damaged, or was saved by another program or a newer version of the library.
        OptionError: ``name`` is neither a text nor a path.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise OptionError(f"name={name!r}: is neither the name of a model ({', '.join(model_names())}) nor the path of its folder.")
    folder, shown = _folder_of(os.fspath(name))
    return load_model(folder, name=shown, device=device, runtime=runtime, precision=precision, calibrate_on=calibrate_on)


def _folder_of(text: str) -> tuple[Path, str]:
    """Return the folder of a model, which is downloaded if it is on the hub, and the name that the model gets."""
    if text.startswith("hf://"):
        from bcdseg.model.saving import fetch

        return fetch(text), text
    folder = Path(text)
    if text in model_names():
        if (folder / CONFIG).is_file():
            warn_caller(f"{text} is the model of the package. To load that in the folder {text}, give './{text}'.", UserWarning)
        return BUNDLED / text, text
    if not restore(folder):
        raise ModelNotFoundError(
            f"{text!r} is neither a folder nor the name of a bundled model ({', '.join(model_names())}). "
            "A model on the Hugging Face Hub is named hf://owner/name."
        )
    return folder, _name_of(folder.resolve())


def _name_of(folder: Path) -> str:
    """Return the name of a model by its folder; one in the folder of its training run has the run's name, as on its card."""
    return folder.parent.name if folder.name == "model" and folder.parent.name else folder.name


def models() -> tuple[ModelRecord, ...]:
    """Return the metadata of the bundled models."""
    return tuple(_record(name) for name in model_names())


def _record(name: str) -> ModelRecord:
    config = json.loads((BUNDLED / name / "config.json").read_text(encoding="utf-8"))
    network, training = config["network"], config["training"]
    return ModelRecord(
        name=name,
        summary=training["summary"],
        encoder=network["encoder"],
        classes=tuple(network["classes"]),
        preprocessing=Preprocessing.from_dict(config["preprocessing"]),
        file=BUNDLED / name / config["weights"]["file"],
        sha256=config["weights"]["sha256"],
        licence=training["licence"],
        citation=training["citation"],
    )


def model_names() -> tuple[str, ...]:
    """Return the names of the bundled models."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob("*/config.json")))


KINDS = ("contents", "fingerprints", "groups")
UNKNOWN, VALIDATION = "unknown", "validation"


def joint_training_overlap(models: Iterable[Model], also: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
    """Return the union of the training-scan hashes of models, in ``training["seen"]``, and of other hashes.

    The names of trained models without hashes are under ``unknown``, as their training scans can't be excluded. Scans under
    ``validation`` are those that chose a model and trained none. The result is empty without trained models and other hashes.
    """
    trained = [model for model in models if model.training]
    each = [model.training.get("seen", {UNKNOWN: [model.name]}) for model in trained] + ([also] if also else [])
    kinds = [*KINDS, *(kind for kind in (VALIDATION, UNKNOWN) if any(kind in seen for seen in each))]
    joint = {kind: {one for seen in each for one in seen.get(kind, ())} for kind in kinds} if each else {}
    if VALIDATION in joint:
        joint[VALIDATION] -= {one for seen in each for one in {*seen.get("contents", ())} - {*seen.get(VALIDATION, ())}}
    return {kind: sorted(hashes) for kind, hashes in joint.items()}
