"""Scans in, answers out: decoding, network and measuring overlap, order kept, memory bounded."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.images import ImageSource, read_image, source_name
from bcdseg.data.preprocess import Prepared, Preprocessing
from bcdseg.errors import BcdsegError
from bcdseg.infer.flags import answer_flags, image_flags
from bcdseg.infer.lesions import Lesion, find_lesions
from bcdseg.infer.prediction import Failure, Prediction
from bcdseg.infer.rules import Rules
from bcdseg.infer.torch_runtime import Answers
from bcdseg.types import Pixels, Spacing

Runtime = Callable[[Sequence[NDArray[np.float32]]], Answers]
WORKERS = 2
QUEUED_BATCHES = 3


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

    def one(self, source: ImageSource) -> Prediction:
        """The answer for one scan."""
        scan = self._read(source)
        return self._answers([scan], self.runtime([scan.prepared.array]))[0]

    def stream(self, sources: Iterable[ImageSource], *, batch_size: int, keep_failures: bool) -> Iterator[Prediction | Failure]:
        """The answers for many scans, in their order, as they come.

        Worker threads decode the scans ahead of the network and measure the lesions behind it. A scan that can't be
        read raises, or is handed on in its place as a ``Failure``.
        """
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="bcdseg")
        try:
            answered: deque[Future[Prediction] | Failure] = deque()
            scans = _ahead(pool, self._read, sources, most=QUEUED_BATCHES * batch_size + WORKERS)
            for batch in _batches(scans, batch_size):
                ready = [item for item in batch if isinstance(item, Scan)]
                answers = self.runtime([scan.prepared.array for scan in ready]) if ready else None
                rows = iter(range(len(ready)))
                for item in batch:
                    if isinstance(item, Failure):
                        answered.append(item)
                    elif answers is not None:
                        answered.append(pool.submit(self._answer, item, _row(answers, next(rows))))
                while len(answered) > batch_size:
                    yield _result(answered.popleft(), keep_failures)
            while answered:
                yield _result(answered.popleft(), keep_failures)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, source: ImageSource) -> Scan:
        name = source_name(source)
        pixels = read_image(source, name)
        return Scan(name, pixels, self.preprocessing(pixels))

    def _answers(self, scans: Sequence[Scan], answers: Answers) -> list[Prediction]:
        return [self._answer(scan, _row(answers, index)) for index, scan in enumerate(scans)]

    def _answer(self, scan: Scan, answer: Answers) -> Prediction:
        probability = mask = None
        lesions: tuple[Lesion, ...] = ()
        if answer.mask is not None:
            probability = scan.prepared.placement.restore(answer.mask)
            mask, lesions = find_lesions(
                probability >= self.rules.threshold, probability, min_share=self.rules.min_lesion_share, spacing=self.spacing
            )
        probabilities = self._probabilities(answer.classes)
        label = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        doubts = answer_flags(
            label=label,
            confidence=probabilities[label] if label is not None else 1.0,
            outlined=None if mask is None else bool(lesions),
            no_lesion=self.no_lesion,
            min_confidence=self.rules.min_confidence,
        )
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
        )

    def _probabilities(self, logits: NDArray[np.float32] | None) -> dict[str, float]:
        if logits is None:
            return {}
        scaled = logits.astype(np.float64) / self.rules.temperature
        powers = np.exp(scaled - scaled.max())
        return {name: float(value) for name, value in zip(self.classes, powers / powers.sum(), strict=True)}


def _row(answers: Answers, index: int) -> Answers:
    return Answers(*(None if part is None else part[index] for part in answers))


def _ahead(pool: ThreadPoolExecutor, read: Callable[[Any], Scan], sources: Iterable[Any], most: int) -> Iterator[Scan | Failure]:
    """Read in worker threads, at most so many ahead, and hand on in order."""
    waiting: deque[tuple[str, Future[Scan]]] = deque()
    remaining = iter(sources)
    for source in itertools.islice(remaining, most):
        waiting.append((source_name(source), pool.submit(read, source)))
    while waiting:
        name, future = waiting.popleft()
        try:
            yield future.result()
        except BcdsegError as error:
            yield Failure(name, error)
        for source in itertools.islice(remaining, 1):
            waiting.append((source_name(source), pool.submit(read, source)))


def _batches(items: Iterator[Scan | Failure], size: int) -> Iterator[list[Scan | Failure]]:
    """Neighbours whose network inputs have one size; failures ride along."""
    batch: list[Scan | Failure] = []
    shape: tuple[int, ...] | None = None
    for item in items:
        other = isinstance(item, Scan) and shape not in (None, item.prepared.array.shape)
        if batch and (len(batch) == size or other):
            yield batch
            batch, shape = [], None
        batch.append(item)
        if isinstance(item, Scan):
            shape = item.prepared.array.shape
    if batch:
        yield batch


def _result(item: Future[Prediction] | Failure, keep_failures: bool) -> Prediction | Failure:
    if not isinstance(item, Failure):
        return item.result()
    if keep_failures:
        return item
    raise item.error
