"""Models by name, and the training scans that they share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import ModelNotFoundError
from bcdseg.files import restore
from bcdseg.models.model import Model

if TYPE_CHECKING:
    from bcdseg.models.model import Model

BUNDLED = Path(__file__).parent / "weights"
DEFAULT = "busi-lite"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What is known of a model that comes in the package, without loading it.

    Attributes:
        name: What ``bcdseg.load`` takes.
        summary: What it does, in a sentence.
        encoder: Of its network.
        classes: That it tells apart.
        preprocessing: What a scan goes through first.
        file: Its weights.
        sha256: Of that file, checked whenever it is loaded.
        licence: Of weights and data.
        citation: The papers to cite.
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
        """Size of the file."""
        return self.file.stat().st_size / 1e6


def load(
    name: str | os.PathLike[str] = DEFAULT,
    *,
    device: str = "auto",
    runtime: str = "auto",
    precision: str = "auto",
    calibrate_on: Any = None,
) -> Model:
    """Load a model.

    Args:
        name: The name of a bundled model (by default ``busi-lite``, which comes in the package), a folder that
            ``Model.save`` wrote, or ``hf://owner/name`` for one on the Hugging Face Hub, the only kind that downloads.
        device: Where predictions run: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        runtime: What runs the network there: ``torch``, ``compile``, ``openvino`` or ``onnxruntime``; ``auto`` is the fastest
            that is installed. See ``Model.run_on``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; the last two are faster and drift a little. ``auto`` is ``fp16`` on
            CUDA, where it answers as ``fp32`` does, and ``fp32`` elsewhere.
        calibrate_on: For int8: some dozens of scans to take ranges from, in any form that ``predict`` takes.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFileError: The model is damaged, of another program, or made by a newer version of the library.
    """
    loaded = _load(os.fspath(name), device)
    return loaded.run_on(runtime, precision=precision, calibrate_on=calibrate_on)


def _load(text: str, device: str) -> Model:
    from bcdseg.models.loading import load_model

    if text.startswith("hf://"):
        from bcdseg.models.hub import fetch

        return load_model(fetch(text), name=text, device=device)
    if text in model_names():
        return load_model(BUNDLED / text, name=text, device=device)
    folder = Path(text)
    if not restore(folder):
        raise ModelNotFoundError(
            f"{text!r} is neither a folder nor the name of a bundled model ({', '.join(model_names())}). "
            "A model on the Hugging Face Hub is named hf://owner/name."
        )
    return load_model(folder, name=folder.resolve().name, device=device)


def models() -> tuple[ModelRecord, ...]:
    """The models that come in the package."""
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
    """Names of the models that come in the package."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob("*/config.json")))


KINDS = ("contents", "fingerprints", "groups")
UNKNOWN = "unknown"


def joint_training_overlap(models: Iterable[Model], also: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
    """The hashes that any of the models keeps as ``training["seen"]``, and others.

    Trained models that keep none are named under ``unknown``: what they have seen can't be refused. Empty when nothing was seen.
    """
    trained = [model for model in models if model.training]
    each = [model.training.get("seen", {UNKNOWN: [model.name]}) for model in trained] + ([also] if also else [])
    kinds = [*KINDS, *([UNKNOWN] if any(UNKNOWN in seen for seen in each) else [])]
    return {kind: sorted({one for seen in each for one in seen.get(kind, ())}) for kind in kinds} if each else {}
