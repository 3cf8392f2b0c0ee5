"""Prediction of an archive by Ray workers."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcdseg.batch.dispatch import Dispatch
from bcdseg.batch.run_manifest import Journal, Record
from bcdseg.batch.storage import as_path, parquet_bytes
from bcdseg.batch.worker import Worker, WorkerJob, WorkerOptions, WorkerResult, failed_result
from bcdseg.errors import ClusterError, OptionError
from bcdseg.extras import require
from bcdseg.inference.writers import json_bytes, output_names
from bcdseg.model.model import Model
from bcdseg.runtimes.graph import cores
from bcdseg.types import Failure

TABLE, CLIPS = "predictions.parquet", "clips.json"
TOGETHER = {"cpu": 16, "cuda": 64}  # largest number of files per task of a worker


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Ray workers to predict with.

    Attributes:
        address: Address of a Ray cluster; None for this machine alone.
        count: Number of workers; None for one per core, or one per GPU.
    """

    address: str | None = None
    count: int | None = None


class Archive:
    """Output folder of an archive run: masks and a run manifest during the run, tables at its end."""

    def __init__(self, folder: Path, files: Sequence[str], journal: Journal, *, base: Path | None = None) -> None:
        require("pyarrow.parquet", extra="ray", purpose="The engine ray")  # fails here rather than when the table is written
        self.folder, self.journal = folder, journal
        self.files = list(files)
        self._names = dict(zip(files, output_names([as_path(file) for file in files], base).values(), strict=True))
        journal.check_free([TABLE, CLIPS])

    def fill(
        self, model: Model, options: WorkerOptions, workers: Workers, watch: Callable[[Iterator[Record], int], Iterator[Record]]
    ) -> None:
        """Predict the files that are not done. Also when it is stopped, the tables contain the files that are done.

        Args:
            model: Model, sent to each worker once.
            options: Options for all files.
            workers: The workers.
            watch: Function from the iterator of records and their number to an iterator of the same records, for a progress bar.
        """
        model.predict((), **options.predict_options)  # reports wrong options here, and builds a graph once instead of per worker
        left = self.journal.left(self.files)
        kinds = [*["mask"] * options.masks, *["overlay", "heatmap"] * options.overlay]
        self.journal.check_free(f"{self._names[file]}_{kind}.png" for file in left for kind in kinds)
        self.journal.write_header(self.files)
        try:
            for _ in watch(self._records(left, model, options, workers), len(left)):
                pass
        finally:
            self._write_tables(model.classes)

    def _records(self, left: Sequence[str], model: Model, options: WorkerOptions, workers: Workers) -> Iterator[Record]:
        if not left:
            return
        with connected(workers.address, workers=workers.count) as ray:
            kind = model.device.partition(":")[0]

            def number() -> int:
                there = ray.cluster_resources()
                return workers.count or int(there.get("GPU", 0) if kind == "cuda" else there.get("CPU", 0) // options.threads)

            if number() < 1:
                raise OptionError(f"device={model.device!r}: the cluster has none. Choose another device, or another cluster.")
            resources = {"num_gpus": 1} if kind == "cuda" else {"num_cpus": options.threads}
            remote, sent = ray.remote(Worker).options(**resources), ray.put(model)
            dispatch = Dispatch(
                ray,
                lambda: remote.remote(sent, options),
                workers=lambda: min(number(), len(left)),
                together=TOGETHER.get(kind, 1),
                classes=model.classes,
            )
            try:
                for result in dispatch.results([WorkerJob(file, self._names[file]) for file in left]):
                    record = self._written(result, model.classes)
                    self.journal.add(record)
                    yield record
            finally:
                dispatch.stop()

    def _written(self, result: WorkerResult, classes: Sequence[str]) -> Record:
        """Write the masks and overlays of a file; return its record, or a failure where one can't be written."""
        error = self.journal.write_pictures(result.pictures)
        return result.record if error is None else failed_result(Failure(result.record.file, error), classes).record

    def _write_tables(self, classes: Sequence[str]) -> None:
        table = parquet_bytes(self.journal.records(self.files), classes)
        self.journal.write(TABLE, table)
        clips = [record.clip for record in self.journal.records(self.files) if record.clip is not None]
        if clips:
            self.journal.write(CLIPS, json_bytes(clips))


SILENT = {"RAY_enable_metrics_collection": "0"}  # usage statistics: see bcdseg.extras
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on every system: listen on the loopback only
OBJECT_STORE = 256 * 2**20  # bytes of shared memory for results that wait to be written


def ray() -> Any:
    """Import Ray with its metrics disabled."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    return require("ray", extra="ray", purpose="The engine ray")


@contextmanager
def connected(address: str | None, *, workers: int | None) -> Iterator[Any]:
    """Connect to Ray at an address, or to a local instance that is shut down on exit. An initialised Ray is used and kept."""
    if address is None:
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
    library = ray()
    if library.is_initialized():
        yield library
        return
    with tempfile.TemporaryDirectory(prefix="bcdseg-ray-", ignore_cleanup_errors=True) as folder:  # short, as socket paths must be
        try:
            _join(library, _own(folder, workers) if address is None else {"address": address})
            yield library
        finally:
            library.shutdown()


def _join(library: Any, options: dict[str, Any]) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)  # Ray would log each time that it requires a token, as it should
    try:
        library.init(**options, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"Ray can't be reached at the address {options['address']!r}: {error}") from error


def _own(folder: str, workers: int | None) -> dict[str, Any]:
    return {
        "address": "local",
        "num_cpus": workers or cores(),
        "object_store_memory": OBJECT_STORE,
        "include_dashboard": False,
        "configure_logging": False,
        "_temp_dir": folder,
    }
