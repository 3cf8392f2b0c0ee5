"""Questions to models; the latest answers are kept so that a picture, a map and a table of one scan are computed once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from bcdseg.app.scans import Scan
from bcdseg.app.shelf import Shelf
from bcdseg.infer.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a scan.

    Attributes:
        model: The model's name on the shelf.
        threshold: Mask probability from which a pixel is outlined; the model's own by default.
        spacing: Millimetres per pixel in place of the file's own.
        operating_point: Which of the model's chooses the class; by default the most probable one is taken.
        explain: The class to draw a heat map of.
    """

    model: str
    threshold: float | None = None
    spacing: float | None = None
    operating_point: str | None = None
    explain: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether all is as the model and the file have it."""
        return self.threshold is None and self.spacing is None and self.operating_point is None


class Desk:
    """Where questions are answered."""

    def __init__(self, shelf: Shelf, *, kept_pixels: int) -> None:
        self.shelf = shelf
        self._most = kept_pixels
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, Question], Prediction] = OrderedDict()

    def ask(self, scan: Scan, question: Question) -> Prediction:
        """The library's own answer."""
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
        """Let go all answers but those for scans that are still held."""
        with self._lock:
            for key in [key for key in self._kept if key[0] not in scans]:
                del self._kept[key]
