"""Worker of an archive run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch

from bcdseg.batch.run_manifest import Record, stamp_of
from bcdseg.batch.storage import scans_of
from bcdseg.errors import BcdsegError, ImageError
from bcdseg.inference.clips import clip_file, summarize_clip, without_maps
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.predictor import Result
from bcdseg.inference.writers import pictures_of, table_rows
from bcdseg.model.model import Model
from bcdseg.sources import EXITS, ImageSource, unexpected_error
from bcdseg.types import Failure


class WorkerJob(NamedTuple):
    """File to predict, and the prefix of the names of its output files."""

    file: str
    name: str


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Options of an archive run for all files.

    Attributes:
        predict_options: Options of ``Model.predict``.
        frames: Step between the frames of a clip that are predicted.
        masks: Whether masks are written.
        overlay: Whether overlays with the outlines are written.
        named: Files that were named themselves: one of these that is not a scan is an error.
        threads: Threads of a worker on a CPU.
    """

    predict_options: Mapping[str, Any]
    frames: int
    masks: bool
    overlay: bool
    named: frozenset[str] = frozenset()
    threads: int = 1


class WorkerResult(NamedTuple):
    """Record of a file, and the content of its masks and overlays by file name."""

    record: Record
    pictures: dict[str, bytes]


class Worker:
    """Ray actor that loads a model and predicts files, by default with one thread on one core."""

    def __init__(self, model: Model, options: WorkerOptions) -> None:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        torch.set_num_threads(options.threads)
        self._model, self._options = model, options

    def predict(self, jobs: Sequence[WorkerJob]) -> list[WorkerResult]:
        """Return a result for each file; one that can't be read has rows with the error, one without a scan has no rows."""
        names = {job.file: job.name for job in jobs}
        without: list[WorkerResult] = []
        stream = self._model.predict(self._scans(jobs, without), on_error="keep", **self._options.predict_options)
        by_file = groupby(stream, key=lambda result: result.source if result.source in names else clip_file(result))
        results = [self._result_or_failure(file, names[file], of_file) for file, of_file in by_file]
        return [*results, *without]

    def _scans(self, jobs: Sequence[WorkerJob], without: list[WorkerResult]) -> Iterator[ImageSource]:
        for job in jobs:
            try:
                scans = list(scans_of(job.file, self._options.frames, named=job.file in self._options.named))
            except EXITS:
                raise
            except BaseException as error:  # a remote file system or a decoder may raise anything
                why = error if isinstance(error, BcdsegError) else _not_fetched(job.file, error)
                without.append(failed_result(Failure(job.file, why), self._model.classes))
                continue
            if not scans:
                without.append(WorkerResult(Record(file=job.file, rows=[], results=[], stamp=stamp_of(job.file)), {}))
            yield from scans

    def _result_or_failure(self, file: str, name: str, stream: Iterator[Result]) -> WorkerResult:
        try:
            return self._result(file, name, stream)
        except EXITS:
            raise
        except BaseException as error:
            why = error if isinstance(error, BcdsegError) else unexpected_error(file, "can't be predicted", error)
            return failed_result(Failure(file, why), self._model.classes)

    def _result(self, file: str, name: str, stream: Iterator[Result]) -> WorkerResult:
        rows: list[dict[str, Any]] = []
        details: list[dict[str, Any]] = []
        pictures: dict[str, bytes] = {}
        results: list[Result] = []
        for result in stream:
            rows += table_rows([result], self._model.classes)
            details.append(result.to_dict())
            if isinstance(result, Prediction):
                own = name if result.frame is None else f"{name}_frame{result.frame}"
                pictures |= pictures_of(result, own, masks=self._options.masks, overlay=self._options.overlay)
            results.append(without_maps(result) if isinstance(result, Prediction) else result)
        is_clip = any(isinstance(result, Prediction) and result.frame is not None for result in results)
        record = Record(
            file=file,
            rows=rows,
            results=details,
            clip=summarize_clip(results).to_dict() if is_clip else None,
            pictures=list(pictures),
            stamp=stamp_of(file),
            whole=not any(isinstance(result, Failure) for result in results),
        )
        return WorkerResult(record, pictures)


def failed_result(failure: Failure, classes: Sequence[str]) -> WorkerResult:
    """Return the result of a file that can't be predicted."""
    rows = table_rows([failure], classes)
    return WorkerResult(Record(file=failure.source, rows=rows, results=[failure.to_dict()], whole=False), {})


def _not_fetched(file: str, error: BaseException) -> ImageError:
    return ImageError(f"{file}: can't be fetched ({type(error).__name__}: {error}).")
