"""Scans in, answers out: several at a time, in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.images import ImageSource, read_image, source_name
from bcdseg.data.preprocess import Prepared, Preprocessing
from bcdseg.errors import BcdsegError, NotFiniteError
from bcdseg.infer.flags import Flag, answer_flags, image_flags
from bcdseg.infer.heatmap import to_unit
from bcdseg.infer.lesions import Lesion, find_lesions
from bcdseg.infer.prediction import Failure, Prediction
from bcdseg.infer.rules import OperatingPoint, Rules
from bcdseg.infer.torch_runtime import Answers
from bcdseg.types import Pixels, Spacing

Result = Prediction | Failure


class Runtime(Protocol):
    """What runs a network. It may be called from several threads."""

    @property
    def workers(self) -> int:
        """How many threads keep it busy."""

    def __call__(self, batch: Sequence[NDArray[np.float32]]) -> Answers:
        """Run a batch of preprocessed scans of one size."""

    def heat(self, scan: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
        """Where the score of a class came from, over one preprocessed scan."""

    def pool(self) -> AbstractContextManager[Executor]:
        """The threads of a stream."""


class Scan(NamedTuple):
    """A scan that is ready for the network."""

    source: str
    pixels: Pixels
    prepared: Prepared


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Everything that an answer depends on, besides the scan."""

    runtime: Runtime
    preprocessing: Preprocessing
    rules: Rules
    classes: tuple[str, ...]
    no_lesion: str | None
    spacing: Spacing | None = None
    explain: bool | str = False
    operating_point: OperatingPoint | None = None

    def one(self, source: ImageSource) -> Prediction:
        """The answer for one scan."""
        scan = self._read(source)
        return self._answers([scan], self.runtime([scan.prepared.array]))[0]

    def stream(self, sources: Iterable[ImageSource], *, batch_size: int, keep_failures: bool) -> Iterator[Result]:
        """The answers for many scans, in their order, as they come.

        Each worker takes a batch all the way from file to lesions, so that one decodes while another computes. A scan that
        can't be read raises, or is handed on in its place as a ``Failure``.
        """
        remaining = iter(sources)
        waiting: deque[Future[list[Result]]] = deque()
        with self.runtime.pool() as pool:
            stopped: Exception | None = None
            while True:
                while stopped is None and len(waiting) <= self.runtime.workers:
                    batch, stopped = _take(remaining, batch_size)
                    if not batch:
                        break
                    waiting.append(pool.submit(self._batch, batch))
                if not waiting and stopped is not None:
                    raise stopped
                if not waiting:
                    return
                for result in waiting.popleft().result():
                    if isinstance(result, Failure) and not keep_failures:
                        raise result.error
                    yield result

    def _batch(self, sources: Sequence[ImageSource]) -> list[Result]:
        results: list[Result] = []
        for shape, items in groupby(map(self._read_or_fail, sources), key=_shape):
            if shape is None:
                results += [item for item in items if isinstance(item, Failure)]
            else:
                scans = [item for item in items if isinstance(item, Scan)]
                results += self._answers(scans, self.runtime([scan.prepared.array for scan in scans]))
        return results

    def _read_or_fail(self, source: ImageSource) -> Scan | Failure:
        try:
            return self._read(source)
        except BcdsegError as error:
            return Failure(source_name(source), error)

    def _read(self, source: ImageSource) -> Scan:
        name = source_name(source)
        pixels = read_image(source, name)
        return Scan(name, pixels, self.preprocessing(pixels))

    def _answers(self, scans: Sequence[Scan], answers: Answers) -> list[Prediction]:
        return [self._answer(scan, _row(answers, index)) for index, scan in enumerate(scans)]

    def _answer(self, scan: Scan, answer: Answers) -> Prediction:
        for part in (answer.mask, answer.classes):
            if part is not None and not np.isfinite(part).all():
                raise NotFiniteError(f"{scan.source}: the network answers with NaN or infinite values; are its weights finite?")
        probability = mask = None
        lesions: tuple[Lesion, ...] = ()
        if answer.mask is not None:
            probability = scan.prepared.placement.restore(answer.mask)
            mask, lesions = find_lesions(
                probability >= self.rules.threshold, probability, min_share=self.rules.min_lesion_share, spacing=self.spacing
            )
        probabilities = self._probabilities(answer.classes)
        likeliest = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        label = self.operating_point.choose(probabilities) if self.operating_point and probabilities else likeliest
        doubts = answer_flags(
            label=label,
            confidence=probabilities[label] if label is not None else 1.0,
            outlined=None if mask is None else bool(lesions),
            no_lesion=self.no_lesion,
            min_confidence=self.rules.min_confidence,
        )
        if label != likeliest:
            doubts += (_called_otherwise(label, likeliest, self.operating_point),)
        explained = None if self.explain is False else label if self.explain is True else self.explain
        return Prediction(
            source=scan.source,
            label=label,
            probabilities=probabilities,
            mask=mask,
            mask_probability=probability,
            lesions=lesions,
            flags=doubts + image_flags(scan.pixels),
            spacing=self.spacing,
            threshold=self.rules.threshold,
            image=scan.pixels,
            operating_point=self.operating_point.name if self.operating_point else None,
            heatmap=None if explained is None else self._heat(scan, explained),
            explained=explained,
        )

    def _heat(self, scan: Scan, name: str) -> NDArray[np.float32]:
        heat = self.runtime.heat(scan.prepared.array, self.classes.index(name))
        return to_unit(scan.prepared.placement.restore(heat))

    def _probabilities(self, logits: NDArray[np.float32] | None) -> dict[str, float]:
        if logits is None:
            return {}
        scaled = logits.astype(np.float64) / self.rules.temperature
        powers = np.exp(scaled - scaled.max())
        return {name: float(value) for name, value in zip(self.classes, powers / powers.sum(), strict=True)}


def _called_otherwise(label: str | None, likeliest: str | None, point: OperatingPoint | None) -> Flag:
    name = point.name if point else ""
    return Flag("operating-point", f"Called {label} at the operating point {name!r}; the most probable class is {likeliest}.")


def _take(sources: Iterator[ImageSource], most: int) -> tuple[list[ImageSource], Exception | None]:
    """The next few sources, and what the caller's iterator raised, to be raised after the answers for what came before."""
    taken: list[ImageSource] = []
    try:
        for source in islice(sources, most):
            taken.append(source)
    except Exception as error:
        return taken, error
    return taken, None


def _row(answers: Answers, index: int) -> Answers:
    return Answers(*(None if part is None else part[index] for part in answers))


def _shape(item: Scan | Failure) -> tuple[int, ...] | None:
    """Neighbours of one shape go through the network together."""
    return None if isinstance(item, Failure) else item.prepared.array.shape
