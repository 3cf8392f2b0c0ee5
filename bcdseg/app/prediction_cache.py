"""Model store of the page, and a cache of the latest predictions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from bcdseg.app.sessions import UploadedScan
from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.errors import ModelNotFoundError
from bcdseg.inference.prediction import Prediction
from bcdseg.model.model import Model
from bcdseg.model.registry import load, model_names


class Shelf:
    """Model store: models by the names that the page shows, first those given at the start, then the bundled ones.

    The given models are loaded at once, so that a wrong name is reported before the page opens.
    """

    def __init__(self, names: Sequence[str] = (), *, device: str = "auto") -> None:
        self._device = device
        self._lock = Lock()
        self._paths: dict[str, str] = {}
        bundled = sorted(model_names(), key=lambda name: name != DEFAULT_MODEL)
        for name in dict.fromkeys([*names, *bundled]):
            shown = name if name in bundled or name.startswith("hf://") else Path(name).resolve().name
            self._paths[name if shown in self._paths else shown] = name
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

    def _load(self, name: str) -> Model:
        return load(self._paths[name], device=self._device)


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Request for a prediction of a scan.

    Attributes:
        model: Name of the model in the model store.
        threshold: Mask probability from which a pixel is segmented; the model's own by default.
        spacing: Millimetres per pixel in place of the file's own.
        operating_point: Operating point of the model that determines the class; by default it is the most probable one.
        explain: Class to draw a heat map of.
    """

    model: str
    threshold: float | None = None
    spacing: float | None = None
    operating_point: str | None = None
    explain: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether all options are those of the model and the file."""
        return self.threshold is None and self.spacing is None and self.operating_point is None


class Desk:
    """Cache of predictions by scan and request."""

    def __init__(self, shelf: Shelf, *, kept_pixels: int) -> None:
        self.shelf = shelf
        self._most = kept_pixels
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, PredictRequest], Prediction] = OrderedDict()

    def ask(self, scan: UploadedScan, question: PredictRequest) -> Prediction:
        """Return the library's prediction of a scan, from the cache where it was computed already."""
        key = (scan.id, question)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        answer: Prediction = self.shelf.get(question.model).predict(
            scan.source,
            threshold=question.threshold,
            spacing=question.spacing,
            operating_point=question.operating_point,
            explain=question.explain or False,
        )
        with self._lock:
            self._kept[key] = answer
            while len(self._kept) > 1 and sum(one.size[0] * one.size[1] for one in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return answer

    def forget(self, scans: set[str]) -> None:
        """Remove all predictions but those of scans that are still stored."""
        with self._lock:
            for key in [key for key in self._kept if key[0] not in scans]:
                del self._kept[key]
