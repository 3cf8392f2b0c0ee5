"""Cache of the latest predictions of the page."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from bcdseg.app.model_store import ModelStore
from bcdseg.app.sessions import UploadedScan
from bcdseg.data.reader_process import Wanted
from bcdseg.inference.prediction import Prediction
from bcdseg.types import ScanImage
from bcdseg.web.reader_pool import ReaderPool


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
