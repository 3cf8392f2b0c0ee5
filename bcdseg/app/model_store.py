"""Models that the page offers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from bcdseg.batch.run_manifest import fingerprint
from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.errors import ModelNotFoundError
from bcdseg.model.model import Model
from bcdseg.model.registry import load, model_names


class ModelStore:
    """Models by the names that the page shows, first those given at the start, then the bundled ones.

    The given models are loaded immediately, so that a wrong name is reported before the page opens.
    """

    def __init__(self, names: Sequence[str] = (), *, device: str = "auto") -> None:
        self._device = device
        self._lock = Lock()
        self._paths: dict[str, str] = {}
        bundled = sorted(model_names(), key=lambda name: name != DEFAULT_MODEL)
        for name in dict.fromkeys([*names, *bundled]):
            shown = name if name in bundled or name.startswith("hf://") else Path(name).resolve().name
            self._paths[name if shown in self._paths else shown] = name
        self._hashes: dict[str, str] = {}
        self._loaded = {key: self._load(key) for key, name in self._paths.items() if name not in bundled}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models; the first is the default."""
        return tuple(self._paths)

    def get(self, name: str | None = None) -> Model:
        """Return a model by its name, the first by default."""
        name = name or self.names[0]
        if name not in self._paths:
            raise ModelNotFoundError(f"{name!r} is not offered here: choose one of {', '.join(self.names)}.")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def content_hash(self, name: str) -> str:
        """Return a hash of all that a model's predictions depend on."""
        if name not in self._hashes:
            model = self.get(name)
            self._hashes[name] = fingerprint(model)
        return self._hashes[name]

    def _load(self, name: str) -> Model:
        return load(self._paths[name], device=self._device)
