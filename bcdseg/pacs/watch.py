"""Prediction of scans as they arrive in a folder."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from bcdseg.batch.run_manifest import Journal, Record, Stamp, stamp_of
from bcdseg.data.readers import each_frame, list_images
from bcdseg.dicom.deidentify import PACS, SHARED
from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.errors import BcdsegError, ImageNotFoundError, NotAScanError, OptionError, OutputError, PacsError, PacsObjectError
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.writers import LONGEST_STEM, json_bytes, pictures_of
from bcdseg.pacs.results import KINDS, ROOT, ResultMaker, store_root
from bcdseg.pacs.server import Instance
from bcdseg.partial import fit_name
from bcdseg.sources import is_dicom, unexpected_error

if TYPE_CHECKING:
    from bcdseg.model.model import Model
    from bcdseg.pacs.server import DicomWebServer


ENDINGS = (".json", "_mask.png", "_overlay.png", *(f"_{kind}.dcm" for kind in KINDS))


@dataclass(frozen=True, kw_only=True)
class ArrivedScan:
    """The outcome for one file that arrived.

    Attributes:
        file: The file.
        written: Files that were written.
        predictions: Prediction for the image, or for each frame of the clip, which then has no arrays except masks.
        error: Reason why there is no result, or why it is not in the PACS; None after success.
        will_retry: Whether the file is tried again, because it was the server that failed.
        root: SOP Instance UID of the report that lists all results of the study, if one was stored now.
    """

    file: Path
    written: tuple[Path, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    error: BcdsegError | None = None
    will_retry: bool = False
    root: str | None = None


def watch_folder(
    model: Model,
    folder: str | Path,
    out: str | Path,
    *,
    identity: str | None = None,
    server: DicomWebServer | None = None,
    kinds: Iterable[str] = KINDS,
    frames: str | int = "all",
    threshold: float | None = None,
    operating_point: str | None = None,
    settle: float = 5.0,
    retry: float = 60.0,
    once: bool = False,
    stop: Event | None = None,
) -> Iterator[ArrivedScan]:
    """Predict the scans in a folder and those that arrive in it, until it is stopped.

    A file is read when it has not changed for some seconds. Its results are written to another folder, together with a record of
    it, so that it isn't predicted again after a restart, unless it changes. Results that a changed file no longer has are
    removed. A file that can't be read is recorded with its error. The folder is polled, which also works on network drives.

    Args:
        model: Model that predicts.
        folder: Folder to watch, with the folders in it. Hidden files, masks and overlays are left out, and DICOM files without an
            image.
        out: Folder of the results: JSON, mask and overlay, and for DICOM a segmentation and a report.
        identity: Use of the results, ``"pacs"`` or ``"shared"``; see ``Model.predict``. By default ``"pacs"`` with a server, else
            ``"shared"``.
        server: PACS in which the results of DICOM scans are stored too. While it can't be reached, files wait. Results that it
            refuses are written to the folder, with an error.
        kinds: DICOM objects: ``"seg"``, ``"sr"`` or both, and ``"root"``, the report that lists all results of a study. It needs a
            server. Each scan of a study replaces it by a new one, which names the earlier ones as its predecessors.
        frames: Frames of clips: ``"all"``, or n for each n-th frame, starting from the first.
        threshold: Mask probability from which a pixel is outlined; by default the model's threshold.
        operating_point: As in ``Model.predict``.
        settle: Seconds for which a file must not change before it is read; the folder is polled twice as often.
        retry: Seconds to wait after the server failed.
        once: Whether to end when all files in the folder are done, or when the server fails.
        stop: Event that ends the watch; files that are not predicted yet are predicted at the next start.

    Returns:
        An iterator of outcomes, one per file, which waits for the next file.

    Raises:
        OptionError: An option is not possible, or the folder of the results belongs to another model or other options.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise OptionError(f"{folder}: is not a folder. Create it, or name another one.")
    if out.resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"{out}: is in the watched folder, so that its pictures would be predicted too. Choose another folder.")
    if server is not None and identity == SHARED:
        raise OptionError("identity='shared' contradicts server=: results of another patient and study don't belong there.")
    if settle < 0 or retry < 0:
        raise OptionError(f"settle={settle}, retry={retry}: choose 0 seconds or more.")
    each_frame(frames)
    options = {"frames": frames, "threshold": threshold, "operating_point": operating_point}
    wanted = list(kinds)
    if ROOT in wanted and server is None:
        raise OptionError("kinds: 'root' is a report that is stored in a PACS: give server=.")
    maker = ResultMaker.of(
        model, [kind for kind in wanted if kind != ROOT], options, identity=identity or (SHARED if server is None else PACS)
    )
    settings = {**maker.settings, "identity": maker.identity, "kinds": list(maker.kinds), "server": server and server.url}
    journal = Journal(out, settings, resume=True, overwrite=False)
    journal.write_header()
    arrivals = Arrivals(folder, journal, settle)
    return _watch(arrivals, Results(maker, journal, folder, out, server, with_root=ROOT in wanted), retry, once, stop or Event())


def _watch(arrivals: Arrivals, results: Results, retry: float, once: bool, stop: Event) -> Iterator[ArrivedScan]:
    while not stop.is_set():
        pause = arrivals.settle / 2
        for file, stamp in arrivals.complete():
            scan = results.make(Path(file), stamp)
            if scan is None:
                continue
            if scan.will_retry:
                pause = retry
            else:
                names = [path.relative_to(results.out).as_posix() for path in scan.written]
                results.remove_earlier(scan.file, names)
                arrivals.finish(file, stamp, names, scan.error)
            yield scan
            if scan.will_retry and once:
                return
            if scan.will_retry or stop.is_set():
                break
        if once and not arrivals.waiting:
            return
        stop.wait(pause)


class Arrivals:
    """Files of a folder that have no result yet.

    Attributes:
        settle: Seconds for which a file must not change before it is complete.
        waiting: Stamp of each file without a result, and the time since when it has been the same.
    """

    def __init__(self, folder: Path, journal: Journal, settle: float) -> None:
        self.settle = settle
        self.waiting: dict[str, tuple[Stamp, float]] = {}
        self._folder, self._journal = folder, journal
        files = [str(path) for path in _images(folder)]
        left = set(journal.left(files))
        self._done = {file: stamp_of(file) for file in files if file not in left}

    def complete(self) -> list[tuple[str, Stamp]]:
        """Return the files that have not changed for long enough, with their stamps."""
        now, before = time.monotonic(), self.waiting
        self.waiting = {}
        for file in map(str, _images(self._folder)):
            stamp = stamp_of(file)
            if stamp is not None and stamp != self._done.get(file):
                known, since = before.get(file, (None, now))
                self.waiting[file] = (stamp, since if stamp == known else now)
        return [(file, stamp) for file, (stamp, since) in self.waiting.items() if now - since >= self.settle]

    def finish(self, file: str, stamp: Stamp, written: list[str], error: BcdsegError | None) -> None:
        """Record that a file has its results, or an error."""
        rows = [] if error is None else [{"source": file, "error": str(error)}]
        self._journal.add(Record(file=file, rows=rows, results=[], pictures=written, stamp=stamp))
        self._done[file] = stamp
        self.waiting.pop(file, None)


def _images(folder: Path) -> list[Path]:
    try:
        return list_images(folder)
    except ImageNotFoundError:
        return []


@dataclass(frozen=True)
class Results:
    """Where the results of files go."""

    maker: ResultMaker
    journal: Journal
    folder: Path
    out: Path
    server: DicomWebServer | None
    with_root: bool

    def make(self, file: Path, stamp: Stamp) -> ArrivedScan | None:
        """Predict a file, write its results, and store them on the server; None for a file that has changed meanwhile."""
        done = ArrivedScan(file=file)
        try:
            predictions = self.maker.predict(file)
            dataset = self._dataset(file)
            if stamp_of(str(file)) != stamp:  # its pixels and its header may be of two scans
                return None
            objects = {} if dataset is None else self.maker.objects(dataset, predictions, self.maker.kinds)
            contents = self._contents(file, predictions, objects)
            self.journal.claim(contents)
            root, refused = (None, None) if self.server is None else self._store(file, dataset, objects, contents)
            for output, content in contents.items():
                self.journal.write(output, content)
            written = tuple(self.out / output for output in contents)
            return replace(done, written=written, predictions=tuple(predictions), root=root, error=refused)
        except NotAScanError:
            return done
        except OutputError:
            raise
        except BcdsegError as error:
            return replace(done, error=error, will_retry=isinstance(error, PacsError))
        except Exception as error:
            return replace(done, error=unexpected_error(str(file), "can't be predicted", error))

    def remove_earlier(self, file: Path, written: Collection[str]) -> None:
        """Remove the results of an earlier content of a file, except those that were written again."""
        name = self._name(file)
        self.journal.remove({f"{name}{ending}" for ending in ENDINGS}.difference(written))

    def _name(self, file: Path) -> str:
        """Return the path of a file's results below the output folder, without their endings."""
        return (file.relative_to(self.folder).parent / fit_name(file.name, LONGEST_STEM)).as_posix()

    def _dataset(self, file: Path) -> Any:
        """Return the header of a DICOM file; None for another file, which belongs to no study."""
        if not is_dicom(file):
            return None
        with guarded(str(file)):
            return pydicom().dcmread(file, stop_before_pixels=True)

    def _store(
        self, file: Path, dataset: Any, objects: Mapping[str, bytes], contents: Mapping[str, bytes]
    ) -> tuple[str | None, BcdsegError | None]:
        """Store the objects that the server lacks, and the report that lists all results of the study.

        The standard requires a new UID for changed pixels, so the results of an image have the same UIDs whatever its pixels. If
        the pixels were changed nevertheless, the results that the server has are of the earlier ones.

        Returns:
            UID of the report, if it was stored; and the reason why the server does not have the results.
        """
        assert self.server is not None
        if dataset is None:
            return None, OptionError(f"{file}: is not DICOM, so that it belongs to no study of the server.")
        image = Instance(
            study=str(dataset.StudyInstanceUID),
            series=str(dataset.SeriesInstanceUID),
            uid=str(dataset.SOPInstanceUID),
            sop_class=str(dataset.SOPClassUID),
            modality=str(dataset.get("Modality", "")),
        )
        try:
            listed = self.server.instances(image.study)
            missing = self.maker.missing(image.uid, [one.uid for one in listed])
            own = {str(self.maker.uids(image.uid, kind)("instance")) for kind in self.maker.kinds}
            if len(missing) < len(own) and self._has_others(own, contents):
                return None, PacsObjectError(
                    f"{file}: has other results than before, and the same SOP Instance UID {image.uid}. {self.server.url} has the "
                    "earlier ones, and keeps them. Give changed pixels a new UID, as DICOM requires, or delete the results there "
                    "and predict again."
                )
            if missing:
                self.server.store(image.study, [objects[kind] for kind in missing])
            if not self.with_root:
                return None, None
            # the server may not have the image yet
            return store_root(self.maker, self.server, [*listed, image], {one.uid for one in listed} | own), None
        except (PacsObjectError, OptionError) as error:  # of one object, or of a malformed UID
            return None, error

    def _has_others(self, own: Collection[str], contents: Mapping[str, bytes]) -> bool:
        """Return whether the output folder has other results of the same image, whose objects have the same UIDs."""
        earlier = {name: self.out / name for name in contents if (self.out / name).is_file()}
        objects = [path for name, path in earlier.items() if name.endswith(".dcm")]
        if not any(str(self._dataset(path).SOPInstanceUID) in own for path in objects):
            return False
        return any(path.read_bytes() != contents[name] for name, path in earlier.items() if path not in objects)

    def _contents(self, file: Path, predictions: list[Prediction], objects: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the contents of the result files by their paths below the output folder: those of the file with endings."""
        name = self._name(file)
        found = {f"{name}_{kind}.dcm": content for kind, content in objects.items()}
        facts = [one.to_dict() for one in predictions]
        if predictions[0].frame is None:
            found |= {f"{name}.json": json_bytes(facts[0]), **pictures_of(predictions[0], name, overlay=True)}
        else:
            found[f"{name}.json"] = json_bytes(facts)
        return found
