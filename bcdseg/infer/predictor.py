"""Scans in, answers out: several at a time, in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bcdseg.data.images import ImageSource, source_name
from bcdseg.data.preprocess import Prepared, Preprocessing
from bcdseg.data.scans import read_scan
from bcdseg.errors import BcdsegError, NotFiniteError
from bcdseg.infer.answers import Answers
from bcdseg.infer.flags import Flag, answer_flags, image_flags
from bcdseg.infer.heatmap import to_unit
from bcdseg.infer.lesions import Lesion, find_lesions
from bcdseg.infer.prediction import Failure, Prediction
from bcdseg.infer.rules import OperatingPoint, Rules
from bcdseg.types import Area, Mask, ScanImage, Spacing

Result = Prediction | Failure
GIVEN = "given"


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
    """A scan that is ready for the network, an input for each of its areas."""

    image: ScanImage
    prepared: tuple[Prepared, ...]


class Found(NamedTuple):
    """What the network says of one area of a scan. Maps have the size of the whole scan."""

    area: Area
    mask: Mask | None
    probability: NDArray[np.float32] | None
    lesions: tuple[Lesion, ...]
    logits: NDArray[np.float32] | None


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
    name: str = "untitled"
    keep_identifiers: bool = False

    def one(self, source: ImageSource) -> Prediction:
        """The answer for one scan."""
        scan = self._read(source)
        return self._answer(scan, list(self._run(scan.prepared)))

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
        scans = [self._read_or_fail(source) for source in sources]
        answers = self._run([prepared for scan in scans if isinstance(scan, Scan) for prepared in scan.prepared])
        return [
            scan if isinstance(scan, Failure) else self._answer(scan, list(islice(answers, len(scan.prepared)))) for scan in scans
        ]

    def _run(self, inputs: Iterable[Prepared]) -> Iterator[Answers]:
        """An answer for each input; neighbours of one shape go through the network together."""
        for _, group in groupby(inputs, key=lambda prepared: prepared.array.shape):
            batch = [prepared.array for prepared in group]
            answers = self.runtime(batch)
            for index in range(len(batch)):
                yield _row(answers, index)

    def _read_or_fail(self, source: ImageSource) -> Scan | Failure:
        try:
            return self._read(source)
        except BcdsegError as error:
            return Failure(source_name(source), error)

    def _read(self, source: ImageSource) -> Scan:
        image = read_scan(source, keep_identifiers=self.keep_identifiers)
        if self.spacing is not None:
            areas = tuple(replace(area, spacing=self.spacing, spacing_from=GIVEN) for area in image.areas)
            image = replace(image, areas=areas)
        return Scan(image, tuple(self.preprocessing(image.pixels[area.window]) for area in image.areas))

    def _find(self, scan: Scan, area: Area, prepared: Prepared, answer: Answers) -> Found:
        for part in (answer.mask, answer.classes):
            if part is not None and not np.isfinite(part).all():
                raise NotFiniteError(
                    f"{scan.image.source}: the network answers with NaN or infinite values; are its weights finite?"
                )
        if answer.mask is None:
            return Found(area, None, None, (), answer.classes)
        probability = _in_frame(prepared.placement.restore(answer.mask), area, scan.image.pixels.shape[:2])
        min_share = self.rules.min_lesion_share * area.pixels / probability.size
        over = probability >= self.rules.threshold
        mask, lesions = find_lesions(over, probability, min_share=min_share, spacing=area.spacing)
        return Found(area, mask, probability, lesions, answer.classes)

    def _answer(self, scan: Scan, answers: Sequence[Answers]) -> Prediction:
        parts = [self._find(scan, *part) for part in zip(scan.image.areas, scan.prepared, answers, strict=True)]
        # The area that holds the lesion speaks for the scan; the first is the largest.
        speaker = max(range(len(parts)), key=lambda at: max((lesion.area_px for lesion in parts[at].lesions), default=0))
        chosen = parts[speaker]
        mask = _merged([part.mask for part in parts if part.mask is not None])
        lesions = tuple(sorted((one for part in parts for one in part.lesions), key=lambda lesion: -lesion.area_px))
        probabilities = self._probabilities(chosen.logits)
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
            source=scan.image.source,
            label=label,
            probabilities=probabilities,
            mask=mask,
            mask_probability=_merged([part.probability for part in parts if part.probability is not None]),
            lesions=lesions,
            flags=(*doubts, *image_flags(scan.image.pixels[chosen.area.window]), *(Flag(*doubt) for doubt in scan.image.doubts)),
            spacing=chosen.area.spacing,
            threshold=self.rules.threshold,
            image=scan.image.pixels,
            spacing_from=chosen.area.spacing_from,
            area=chosen.area.box,
            frame=scan.image.frame,
            model=self.name,
            operating_point=self.operating_point.name if self.operating_point else None,
            heatmap=None if explained is None else self._heat(scan, speaker, explained),
            explained=explained,
        )

    def _heat(self, scan: Scan, part: int, name: str) -> NDArray[np.float32]:
        prepared, area = scan.prepared[part], scan.image.areas[part]
        heat = to_unit(prepared.placement.restore(self.runtime.heat(prepared.array, self.classes.index(name))))
        return _in_frame(heat, area, scan.image.pixels.shape[:2])

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


def _in_frame(over_area: NDArray[np.float32], area: Area, size: tuple[int, ...]) -> NDArray[np.float32]:
    """A map over an area as a map over the whole scan, 0 elsewhere."""
    if over_area.shape == size:
        return over_area
    whole = np.zeros(size, np.float32)
    whole[area.window] = over_area
    return whole


def _merged(maps: Sequence[NDArray[Any]]) -> Any:
    """The largest value of each pixel, None of no maps."""
    return np.maximum.reduce(maps) if len(maps) > 1 else next(iter(maps), None)
