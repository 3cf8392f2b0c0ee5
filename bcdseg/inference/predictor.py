"""Prediction of one scan or a stream of scans, in four steps: read, prepare, run, postprocess.

``read`` decodes a source to a ``ScanImage``. ``prepare`` preprocesses its regions to network inputs. ``run`` passes the inputs of
one or several scans through the network in batches. ``postprocess`` converts the outputs to a ``Prediction``. Each step is complete
before the next starts; only the windows of a large scan are cut, run and added up batch by batch within ``run``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from itertools import groupby, islice

import numpy as np

from bcdseg.data.preprocessing import Preprocessing
from bcdseg.data.readers import read_scan
from bcdseg.errors import BcdsegError, NotFiniteError
from bcdseg.inference.postprocess import Postprocessing
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.refinement import RefinedRegion, refined_region
from bcdseg.inference.regions import RegionInput, RegionOutput, WholeRegion, in_frame
from bcdseg.inference.sliding_window import TiledRegion, Tiles
from bcdseg.runtimes.base import RawOutput, Runtime, to_unit
from bcdseg.sources import EXITS, ImageSource, source_name, unexpected_error
from bcdseg.types import Failure, ScanImage, Spacing

WHOLE, TILES, AUTO = "whole", "tiles", "auto"
MODES = (WHOLE, TILES, AUTO)
NATIVE = Tiles()
AUTO_ABOVE = 2048  # pixels; frames of ultrasound machines are smaller
GIVEN = "given"
MOST_LARGE_TOGETHER = 4  # largest batch of scans that may be large, to limit memory per thread

Result = Prediction | Failure
Batch = list[tuple[RegionInput, int]]
"""Inputs of one shape, each by its region and its index there."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Settings of a prediction, and its four steps.

    Attributes:
        runtime: Runtime of the network.
        preprocessing: Preprocessing of scans before the network.
        postprocessing: Postprocessing of the network's outputs.
        spacing: Millimetres per pixel in place of those of the file; None for those of the file.
        keep_identifiers: Whether the image keeps burned-in annotations outside the regions of a DICOM frame.
        mode: ``whole``, ``tiles``, or ``auto``: tiles for regions of more than 2,048 pixels in height or width.
        tiles: Settings of the sliding window.
        batch_size: Number of inputs per batch.
        explain: Class of the heat map, True for the predicted class, or False for no heat map.
    """

    runtime: Runtime
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    spacing: Spacing | None = None
    keep_identifiers: bool = False
    mode: str = WHOLE
    tiles: Tiles = NATIVE
    batch_size: int = 1
    explain: bool | str = False

    def predict_one(self, source: ImageSource) -> Prediction:
        """Predict one scan. The windows of a large scan are distributed over the threads of the runtime."""
        return self.predict_batch([self.read(source)], in_threads=True)[0]

    def predict_batch(self, scans: Sequence[ScanImage], *, in_threads: bool = False) -> list[Prediction]:
        """Predict scans together.

        Args:
            scans: Scans from ``read``.
            in_threads: Whether windows are distributed over the threads of the runtime.
        """
        regions = [self.prepare(scan) for scan in scans]
        outputs = self.run(regions, in_threads=in_threads)
        predictions = [self.postprocessing(*pair) for pair in zip(scans, outputs, strict=True)]
        if self.explain is False:
            return predictions
        return [self.add_heatmap(*parts) for parts in zip(predictions, scans, regions, strict=True)]

    def read(self, source: ImageSource) -> ScanImage:
        """Read a scan; a spacing of the settings replaces that of the file."""
        try:
            scan = read_scan(source, keep_identifiers=self.keep_identifiers)
        except (BcdsegError, *EXITS):
            raise
        except BaseException as error:  # decoders written in Rust raise classes that don't derive from Exception
            raise unexpected_error(source_name(source), "can't be read", error) from error
        if self.spacing is None:
            return scan
        return replace(scan, areas=tuple(replace(area, spacing=self.spacing, spacing_from=GIVEN) for area in scan.areas))

    def prepare(self, scan: ScanImage) -> list[RegionInput]:
        """Preprocess the regions of a scan: each as a whole, or as windows of it."""
        threshold, has_classes = self.postprocessing.rules.threshold, bool(self.postprocessing.classes)
        regions: list[RegionInput] = []
        for area in scan.areas:
            pixels = scan.pixels[area.window]
            if self.mode == TILES or (self.mode == AUTO and max(pixels.shape[:2]) > AUTO_ABOVE):
                tiled = TiledRegion(
                    scan.source, pixels, self.preprocessing, self.tiles, threshold=threshold, has_classes=has_classes
                )
                regions.append(tiled)
            else:
                regions.append(WholeRegion(scan.source, pixels, self.preprocessing))
        return regions

    def run(self, regions: Sequence[Sequence[RegionInput]], *, in_threads: bool = False) -> list[list[RegionOutput]]:
        """Run the network on the inputs of all regions in batches, and add each output to its region.

        Args:
            regions: Regions of each scan.
            in_threads: Whether several inputs of a region are distributed over the threads of the runtime.

        Returns:
            Outputs of the regions of each scan.

        Raises:
            NotFiniteError: An output has NaN or infinite values.
        """
        batches = make_batches([region for scan in regions for region in scan], self.batch_size)
        if in_threads and any(region.count > 1 for scan in regions for region in scan):
            with self.runtime.pool() as pool:
                _run_in_threads(batches, self.runtime, pool)
        else:
            for batch in batches:
                add_outputs(batch, self.runtime([region.input(index) for region, index in batch]))
        outputs = [[region.result() for region in scan] for scan in regions]
        if self.postprocessing.rules.refinement is not None:
            self._refine(regions, outputs, self.postprocessing.rules.refinement)
        return outputs

    def _refine(self, regions: Sequence[Sequence[RegionInput]], outputs: Sequence[list[RegionOutput]], factor: float) -> None:
        """Run the network once more on the window around the main outline of each region, and replace the region's output."""
        refined: dict[tuple[int, int], RefinedRegion] = {}
        for at, scan in enumerate(regions):
            for number, region in enumerate(scan):
                if (window := refined_region(region, outputs[at][number], factor, self.preprocessing)) is not None:
                    refined[at, number] = window
        for batch in make_batches(list(refined.values()), self.batch_size):
            add_outputs(batch, self.runtime([region.input(index) for region, index in batch]))
        for (at, number), region in refined.items():
            outputs[at][number] = region.result()

    def add_heatmap(self, prediction: Prediction, scan: ScanImage, regions: Sequence[RegionInput]) -> Prediction:
        """Return the prediction with the heat map of a class, computed in the region that the class is from."""
        explained = prediction.label if self.explain is True else str(self.explain)
        assert explained is not None
        index = next(index for index, area in enumerate(scan.areas) if area.box == prediction.area)
        prepared = regions[index].prepared
        heatmap = self.runtime.heatmap(prepared.array, self.postprocessing.classes.index(explained))
        in_region = to_unit(prepared.placement.restore(heatmap))
        return replace(prediction, heatmap=in_frame(in_region, scan.areas[index], scan.pixels.shape[:2]), explained=explained)

    def stream(self, sources: Iterable[ImageSource], *, keep_failures: bool) -> Iterator[Result]:
        """Yield the predictions for many scans, in their order.

        Each worker thread processes a batch completely, from file to lesions, so that one decodes while another computes. A scan
        that can't be predicted raises, or a ``Failure`` takes its place, whatever its file or the network has raised.
        """
        most = self.batch_size if self.mode == WHOLE else min(self.batch_size, MOST_LARGE_TOGETHER)
        remaining = iter(sources)
        submitted: deque[Future[list[Result]]] = deque()
        with self.runtime.pool() as pool:
            stopped: Exception | None = None
            while True:
                while stopped is None and len(submitted) <= self.runtime.workers:
                    batch, stopped = _next_batch(remaining, most)
                    if not batch:
                        break
                    submitted.append(pool.submit(self._read_and_predict, batch))
                if not submitted and stopped is not None:
                    raise stopped
                if not submitted:
                    return
                for result in submitted.popleft().result():
                    if isinstance(result, Failure) and not keep_failures:
                        raise result.error
                    yield result

    def _read_and_predict(self, sources: Sequence[ImageSource]) -> list[Result]:
        return self._predict_or_fail([self._read_or_fail(source) for source in sources])

    def _read_or_fail(self, source: ImageSource) -> ScanImage | Failure:
        try:
            return self.read(source)
        except BcdsegError as error:
            return Failure(source_name(source), error)

    def _predict_or_fail(self, scans: Sequence[ScanImage | Failure]) -> list[Result]:
        """Predict scans together, and each alone if that fails, so that an error of one scan doesn't affect the others."""
        readable = [scan for scan in scans if isinstance(scan, ScanImage)]
        try:
            predictions = iter(self.predict_batch(readable))
        except EXITS:
            raise
        except BaseException as error:
            if len(scans) > 1:
                return [result for scan in scans for result in self._predict_or_fail([scan])]
            return [_failure(readable[0].source, error)]
        return [scan if isinstance(scan, Failure) else next(predictions) for scan in scans]


def make_batches(regions: Sequence[RegionInput], most: int) -> list[Batch]:
    """Divide the inputs of regions into batches of consecutive inputs of one shape."""
    inputs = [(region, index) for region in regions for index in range(region.count)]
    batches: list[Batch] = []
    for _, group in groupby(inputs, key=lambda pair: pair[0].shape):
        alike = list(group)
        batches += [alike[start : start + most] for start in range(0, len(alike), most)]
    return batches


def add_outputs(batch: Batch, output: RawOutput) -> None:
    """Add the output of each input in a batch to its region, and raise an error where it has NaN or infinite values."""
    for row, (region, _) in enumerate(batch):
        one = RawOutput(*(None if part is None else part[row] for part in output))
        if not all(part is None or np.isfinite(part).all() for part in (one.mask, one.classes)):
            raise NotFiniteError(f"{region.source}: the network's output has NaN or infinite values; are its weights finite?")
        region.add(one)


def _run_in_threads(batches: Iterable[Batch], runtime: Runtime, pool: Executor) -> None:
    """Run batches in threads, and add their outputs in order; only a few batches are in memory at a time."""
    submitted: deque[tuple[Batch, Future[RawOutput]]] = deque()
    for batch in batches:
        submitted.append((batch, pool.submit(runtime, [region.input(index) for region, index in batch])))
        if len(submitted) > runtime.workers + 1:
            done, future = submitted.popleft()
            add_outputs(done, future.result())
    for done, future in submitted:
        add_outputs(done, future.result())


def _failure(source: str, error: BaseException) -> Failure:
    """Return the Failure of a scan that can't be predicted."""
    if isinstance(error, BcdsegError):
        return Failure(source, error)
    unexpected = unexpected_error(source, "can't be predicted", error)
    unexpected.__cause__ = error
    return Failure(source, unexpected)


def _next_batch(sources: Iterator[ImageSource], most: int) -> tuple[list[ImageSource], Exception | None]:
    """Return the next few sources, and the error of the caller's iterator, which is raised after the predictions before it."""
    batch: list[ImageSource] = []
    try:
        for source in islice(sources, most):
            batch.append(source)
    except Exception as error:
        return batch, error
    return batch, None
