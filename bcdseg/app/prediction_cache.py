"""Models that the page offers, and a cache of their latest predictions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from bcdseg.app.sessions import UploadedScan
from bcdseg.batch.run_manifest import fingerprint
from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.data.reader_process import Wanted
from bcdseg.errors import ModelNotFoundError
from bcdseg.inference.prediction import Prediction
from bcdseg.model.model import Model
from bcdseg.model.registry import load, model_names
from bcdseg.types import ScanImage
from bcdseg.web.reader_pool import ReaderPool


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


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Request for a prediction of a scan.

    Attributes:
        model: Name of the model.
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


class PredictionCache:
    """Predictions by scan and request. Files are decoded in processes of their own, so that a hostile file does not stop the page.

    Args:
        models: Models that the page offers.
        readers: Processes that decode files.
        most_pixels: Largest number of pixels of a scan.
        kept_pixels: Largest number of pixels of the cached predictions together.
    """

    def __init__(self, models: ModelStore, readers: ReaderPool, *, most_pixels: int, kept_pixels: int) -> None:
        self.models, self._readers = models, readers
        self._most_pixels, self._kept_pixels = most_pixels, kept_pixels
        self._lock = Lock()
        self._cached: OrderedDict[tuple[str, PredictRequest], Prediction] = OrderedDict()

    def predict(self, scan: UploadedScan, request: PredictRequest) -> Prediction:
        """Return the library's prediction of a scan, from the cache where it was computed already."""
        key = (scan.id, request)
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        model = self.models.get(request.model)
        prediction: Prediction = model.predict(
            self._read(scan),
            threshold=request.threshold,
            spacing=request.spacing,
            operating_point=request.operating_point,
            explain=request.explain or False,
        )
        with self._lock:
            self._cached[key] = prediction
            while len(self._cached) > 1 and sum(one.size[0] * one.size[1] for one in self._cached.values()) > self._kept_pixels:
                self._cached.popitem(last=False)
        return prediction

    def _read(self, scan: UploadedScan) -> ScanImage:
        if scan.video_hash is not None:
            return replace(self.read(scan.content, scan.name), frame=scan.frame)
        wanted = Wanted(name=scan.file_name, frame=scan.frame, most_pixels=self._most_pixels, unmarked_dicom=scan.unmarked_dicom)
        return self._readers.read(scan.content, wanted).scan

    def read(self, content: bytes, name: str) -> ScanImage:
        """Read a file that is not predicted, such as a mask, in a process of its own."""
        return self._readers.read(content, Wanted(name=name, most_pixels=self._most_pixels)).scan

    def keep_only(self, scans: set[str]) -> None:
        """Remove all predictions but those of scans that are still stored."""
        with self._lock:
            for key in [key for key in self._cached if key[0] not in scans]:
                del self._cached[key]
