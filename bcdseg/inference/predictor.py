"""Prediction of one scan or a stream of scans."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, islice
from typing import NamedTuple

import numpy as np

from bcdseg.data.preprocessing import Preprocessing
from bcdseg.data.readers import read_scan
from bcdseg.errors import BcdsegError, OptionError
from bcdseg.inference.lesions import Lesion
from bcdseg.inference.postprocess import check_finite, postprocess_region
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.quality import answer_flags, candidate_flag, image_flags
from bcdseg.inference.regions import RegionInput, WholeRegion
from bcdseg.inference.rules import OperatingPoint, Rules
from bcdseg.inference.sliding_window import TiledRegion, Tiles
from bcdseg.inference.streaming_components import in_frame, merged
from bcdseg.runtimes.base import Array, RawOutput, Runtime
from bcdseg.runtimes.class_scores import Numbers
from bcdseg.runtimes.gradcam import to_unit
from bcdseg.sources import EXITS, ImageSource, source_name, unexpected_error
from bcdseg.types import Failure, Flag, Mask, Pixels, ScanImage, Spacing

WHOLE, TILES, AUTO = "whole", "tiles", "auto"
MODES = (WHOLE, TILES, AUTO)
NATIVE = Tiles()
AUTO_ABOVE = 2048  # pixels; frames of ultrasound machines are smaller


@dataclass(frozen=True, kw_only=True)
class Mode:
    """Choice between whole-scan and sliding-window inference.

    Attributes:
        name: ``whole``, ``tiles``, or ``auto``: tiles for regions of more than 2,048 pixels in height or width.
        tiles: Settings of the sliding window.
    """

    name: str = WHOLE
    tiles: Tiles = NATIVE

    def __post_init__(self) -> None:
        if self.name not in MODES:
            raise OptionError(f"mode={self.name!r} is unknown: choose one of {', '.join(MODES)}.")

    def look(self, pixels: Pixels, preprocessing: Preprocessing, *, threshold: float, has_classes: bool) -> RegionInput:
        """Return the network inputs of a region of a scan: the whole region, or windows of it."""
        if self.name == TILES or (self.name == AUTO and is_large(pixels)):
            return TiledRegion(pixels, preprocessing, self.tiles, threshold=threshold, has_classes=has_classes)
        return WholeRegion(preprocessing(pixels), pixels.shape[0] * pixels.shape[1])


def is_large(pixels: Pixels) -> bool:
    """Return whether a scan is larger than ``auto`` processes as a whole."""
    return any(side > AUTO_ABOVE for side in pixels.shape[:2])


Result = Prediction | Failure
GIVEN = "given"
WHOLE_SCANS = Mode()
MOST_LARGE_TOGETHER = 4  # largest batch of scans that may be large, to limit memory per thread


class PreparedScan(NamedTuple):
    """Preprocessed scan, with the network inputs of each of its regions."""

    image: ScanImage
    looks: tuple[RegionInput, ...]

    def inputs(self) -> Iterator[Array]:
        """Return the network inputs of all regions, one by one."""
        return chain.from_iterable(look.inputs() for look in self.looks)


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Runtime, preprocessing and settings that a prediction depends on, besides the scan."""

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
    mode: Mode = WHOLE_SCANS
    batch_size: int = 1
    uncertainty_from: str | None = None

    def one(self, source: ImageSource) -> Prediction:
        """Predict one scan. The windows of a large scan are distributed over the threads of the runtime."""
        scan = self._read(source)
        if all(look.count == 1 for look in scan.looks):
            return self._answer(scan, self._run(scan.inputs()))
        with self.runtime.pool() as pool:
            return self._answer(scan, self._run(scan.inputs(), pool))

    def stream(self, sources: Iterable[ImageSource], *, keep_failures: bool) -> Iterator[Result]:
        """Yield the predictions for many scans, in their order.

        Each worker processes a batch completely, from file to lesions, so that one decodes while another computes. A scan that
        can't be predicted raises, or a ``Failure`` takes its place, whatever its file or the network has raised.
        """
        together = self.batch_size if self.mode.name == WHOLE else min(self.batch_size, MOST_LARGE_TOGETHER)
        remaining = iter(sources)
        waiting: deque[Future[list[Result]]] = deque()
        with self.runtime.pool() as pool:
            stopped: Exception | None = None
            while True:
                while stopped is None and len(waiting) <= self.runtime.workers:
                    batch, stopped = _take(remaining, together)
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
        return self._results([self._read_or_fail(source) for source in sources])

    def _results(self, scans: Sequence[PreparedScan | Failure]) -> list[Result]:
        """Predict scans together, and each separately if that fails, so that an error of one scan doesn't affect the others."""
        try:
            answers = self._run(chain.from_iterable(scan.inputs() for scan in scans if isinstance(scan, PreparedScan)))
            return [scan if isinstance(scan, Failure) else self._answer(scan, answers) for scan in scans]
        except EXITS:
            raise
        except BaseException as error:
            if len(scans) > 1:
                return [result for scan in scans for result in self._results([scan])]
            return [_failure(scans[0], error)]

    def _run(self, inputs: Iterable[Array], pool: Executor | None = None) -> Iterator[RawOutput]:
        """Yield a raw output for each input; consecutive inputs of one shape form a batch, also across scans."""
        batches = _batches(inputs, self.batch_size)
        run = map(self.runtime, batches) if pool is None else _ahead(pool, self.runtime, batches, self.runtime.workers + 1)
        for answers in run:
            for index in range(len(next(part for part in answers if part is not None))):
                yield _row(answers, index)

    def _read_or_fail(self, source: ImageSource) -> PreparedScan | Failure:
        try:
            return self._read(source)
        except BcdsegError as error:
            return Failure(source_name(source), error)

    def _read(self, source: ImageSource) -> PreparedScan:
        try:
            return self._prepare(read_scan(source, keep_identifiers=self.keep_identifiers))
        except (BcdsegError, *EXITS):
            raise
        except BaseException as error:  # decoders written in Rust raise classes that don't derive from Exception
            raise unexpected_error(source_name(source), "can't be read", error) from error

    def _prepare(self, image: ScanImage) -> PreparedScan:
        if self.spacing is not None:
            areas = tuple(replace(area, spacing=self.spacing, spacing_from=GIVEN) for area in image.areas)
            image = replace(image, areas=areas)
        show = partial(self.mode.look, threshold=self.rules.threshold, has_classes=bool(self.classes))
        return PreparedScan(image, tuple(show(image.pixels[area.window], self.preprocessing) for area in image.areas))

    def _answer(self, scan: PreparedScan, answers: Iterator[RawOutput]) -> Prediction:
        checked = map(partial(check_finite, name=scan.image.source), answers)
        size = scan.image.pixels.shape[:2]
        parts = [
            postprocess_region(area, look.take(islice(checked, look.count)), self.rules, size)
            for area, look in zip(scan.image.areas, scan.looks, strict=True)
        ]
        # Class and spacing are from the region with the largest lesion; without lesions, from the first, the largest region.
        speaker = max(range(len(parts)), key=lambda at: max((lesion.area_px for lesion in parts[at].lesions), default=0))
        chosen = parts[speaker]
        mask = merged([part.mask for part in parts if part.mask is not None])
        lesions = tuple(sorted((one for part in parts for one in part.lesions), key=lambda lesion: -lesion.area_px))
        candidates: tuple[Lesion, ...] = ()
        candidate_mask: Mask | None = None
        probabilities = self._by_class(chosen.votes and chosen.votes.probabilities(self.rules.temperature))
        spread = self._by_class(chosen.votes and chosen.votes.spread(self.rules.temperature))
        presence = 1 - probabilities[self.no_lesion] if probabilities and self.no_lesion is not None else 1.0
        threshold = self.rules.presence_threshold
        if mask is not None and lesions and threshold is not None and presence < threshold:
            candidates, candidate_mask, lesions, mask = lesions, mask, (), np.zeros_like(mask)
        likeliest = max(probabilities, key=probabilities.__getitem__) if probabilities else None
        label = self.operating_point.choose(probabilities) if self.operating_point and probabilities else likeliest
        doubts = answer_flags(
            label=label,
            confidence=probabilities[label] if label is not None else 1.0,
            outlined=None if mask is None else bool(lesions),
            no_lesion=self.no_lesion,
            min_confidence=self.rules.min_confidence,
        )
        if candidates and threshold is not None:
            doubts += (candidate_flag(presence, threshold),)
        if label != likeliest:
            doubts += (_called_otherwise(label, likeliest, self.operating_point),)
        explained = None if self.explain is False else label if self.explain is True else self.explain
        return Prediction(
            source=scan.image.source,
            label=label,
            probabilities=probabilities,
            mask=mask,
            mask_probability=merged([part.probability for part in parts if part.probability is not None]),
            lesions=lesions,
            flags=(*doubts, *image_flags(scan.image.pixels[chosen.area.window]), *scan.image.warnings),
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
            windows=chosen.windows,
            spread=spread or None,
            uncertainty_from=self.uncertainty_from,
            candidates=candidates,
            candidate_mask=candidate_mask,
        )

    def _heat(self, scan: PreparedScan, part: int, name: str) -> Array:
        prepared, area = scan.looks[part].prepared, scan.image.areas[part]
        heat = to_unit(prepared.placement.restore(self.runtime.heat(prepared.array, self.classes.index(name))))
        return in_frame(heat, area, scan.image.pixels.shape[:2])

    def _by_class(self, values: Numbers | None) -> dict[str, float]:
        return {} if values is None else {name: float(value) for name, value in zip(self.classes, values, strict=True)}


def _called_otherwise(label: str | None, likeliest: str | None, point: OperatingPoint | None) -> Flag:
    name = point.name if point else ""
    return Flag("operating-point", f"Called {label} at the operating point {name!r}; the most probable class is {likeliest}.")


def _failure(scan: PreparedScan | Failure, error: BaseException) -> Failure:
    """Return the Failure of a scan that can't be predicted."""
    if isinstance(scan, Failure):
        return scan
    name = scan.image.source
    if isinstance(error, BcdsegError):
        return Failure(name, error)
    problem = unexpected_error(name, "can't be predicted", error)
    problem.__cause__ = error
    return Failure(name, problem)


def _take(sources: Iterator[ImageSource], most: int) -> tuple[list[ImageSource], Exception | None]:
    """Return the next few sources, and the error of the caller's iterator, which is raised after the predictions before it."""
    taken: list[ImageSource] = []
    try:
        for source in islice(sources, most):
            taken.append(source)
    except Exception as error:
        return taken, error
    return taken, None


def _batches(inputs: Iterable[Array], most: int) -> Iterator[list[Array]]:
    for _, alike in groupby(inputs, key=lambda array: array.shape):
        while batch := list(islice(alike, most)):
            yield batch


def _ahead(pool: Executor, run: Runtime, batches: Iterable[list[Array]], most: int) -> Iterator[RawOutput]:
    """Yield the raw outputs of batches in order, computing a few batches ahead."""
    waiting: deque[Future[RawOutput]] = deque()
    for batch in batches:
        waiting.append(pool.submit(run, batch))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _row(answers: RawOutput, index: int) -> RawOutput:
    return RawOutput(*(None if part is None else part[index] for part in answers))
