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
from bcdseg.batch.worker import Asked, Worker, WorkerJob, WorkerResult, failure_answer
from bcdseg.errors import ClusterError, OptionError
from bcdseg.extras import require
from bcdseg.files import check_free, write_whole
from bcdseg.inference.writers import json_bytes, output_names, write_pictures
from bcdseg.models.model import Model
from bcdseg.runtimes.graph import cores
from bcdseg.types import Failure

TABLE, CLIPS = "predictions.parquet", "clips.json"
TOGETHER = {"cpu": 16, "cuda": 64}  # files at most that a worker is handed at once
TASKS = 8  # at least for each worker, where there are so many files: so that none waits long for the last one


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who does the work.

    Attributes:
        address: Of a cluster of Ray; None for this machine alone.
        count: How many there are; None for one a core, or one a GPU.
    """

    address: str | None = None
    count: int | None = None


class Archive:
    """A folder that fills with the answers for many files: pictures and a journal as they come, tables at the end."""

    def __init__(self, folder: Path, files: Sequence[str], journal: Journal, *, overwrite: bool) -> None:
        require("pyarrow.parquet", extra="ray", purpose="The engine ray")  # now, and not when the table is to be written
        self.folder, self.journal = folder, journal
        self.files = list(files)
        self.overwrite = overwrite or journal.goes_on
        self._names = dict(zip(files, output_names([as_path(file) for file in files]).values(), strict=True))
        check_free([folder / TABLE, folder / CLIPS], overwrite=self.overwrite)

    def fill(
        self, model: Model, asked: Asked, workers: Workers, watch: Callable[[Iterator[Record], int], Iterator[Record]]
    ) -> None:
        """Predict what is not done. Whatever stops it, the tables say what is done.

        Args:
            model: Sent to each worker once.
            asked: What is wanted of each file.
            workers: Who does it.
            watch: Is handed the records as they come and how many there will be, and hands them on.
        """
        model.predict((), **asked.options)  # an option that is wrong is told here, and a graph is made once, not by each worker
        left = self.journal.left(self.files)
        kinds = [*["mask"] * asked.masks, *["overlay", "heatmap"] * asked.overlay]
        pictures = (self.folder / f"{self._names[file]}_{kind}.png" for file in left for kind in kinds)
        check_free(pictures, overwrite=self.overwrite)
        self.journal.begin()
        try:
            for _ in watch(self._records(left, model, asked, workers), len(left)):
                pass
        finally:
            self._write_tables(model.classes)

    def _records(self, left: Sequence[str], model: Model, asked: Asked, workers: Workers) -> Iterator[Record]:
        if not left:
            return
        with connected(workers.address, workers=workers.count) as ray:
            kind = model.device.partition(":")[0]
            number = workers.count or int(ray.cluster_resources().get("GPU" if kind == "cuda" else "CPU", 0))
            if number < 1:
                raise OptionError(f"device={model.device!r}: the cluster has none. Choose another device, or another cluster.")
            resources = {"num_gpus": 1} if kind == "cuda" else {"num_cpus": asked.threads}
            remote, sent = ray.remote(Worker).options(**resources), ray.put(model)
            dispatch = Dispatch(
                ray,
                lambda: remote.remote(sent, asked),
                workers=min(number, len(left)),
                together=max(1, min(TOGETHER.get(kind, 1), len(left) // (number * TASKS))),
                classes=model.classes,
            )
            try:
                for answer in dispatch.answers([WorkerJob(file, self._names[file]) for file in left]):
                    record = self._written(answer, model.classes)
                    self.journal.add(record)
                    yield record
            finally:
                dispatch.stop()

    def _written(self, answer: WorkerResult, classes: Sequence[str]) -> Record:
        """Write the pictures of a file; the record says so where one can't be written."""
        error = write_pictures(self.folder, answer.pictures, overwrite=self.overwrite)
        return answer.record if error is None else failure_answer(Failure(answer.record.file, error), classes).record

    def _write_tables(self, classes: Sequence[str]) -> None:
        table = parquet_bytes(self.journal.records(self.files), classes)
        write_whole(self.folder / TABLE, table, overwrite=self.overwrite)
        clips = [record.clip for record in self.journal.records(self.files) if record.clip is not None]
        if clips:
            write_whole(self.folder / CLIPS, json_bytes(clips), overwrite=self.overwrite)


SILENT = {"RAY_enable_metrics_collection": "0"}  # usage statistics: see bcdseg.privacy
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on every system: listens to this machine alone
OBJECT_STORE = 256 * 2**20  # bytes of shared memory for answers that wait to be written


def ray() -> Any:
    """The library."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    return require("ray", extra="ray", purpose="The engine ray")


@contextmanager
def connected(address: str | None, *, workers: int | None) -> Iterator[Any]:
    """Ray at an address, or one of this machine's own that is gone afterwards. One that is there already is left as it is."""
    if address is None:
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
    library = ray()
    if library.is_initialized():
        yield library
        return
    with tempfile.TemporaryDirectory(prefix="bcdseg-ray-", ignore_cleanup_errors=True) as folder:  # short: sockets lie in it
        try:
            _join(library, _own(folder, workers) if address is None else {"address": address})
            yield library
        finally:
            library.shutdown()


def _join(library: Any, options: dict[str, Any]) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)  # it would tell each time that it asks for a token, as it should
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
