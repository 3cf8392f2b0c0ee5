"""Run manifest, from which a stopped run resumes, and which lists the files that runs have written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from bcdseg import __version__
from bcdseg.errors import BcdsegError, OptionError, OutputError, OutputExistsError
from bcdseg.files import append_line, can_write, exists, remove_parts_below, write_whole
from bcdseg.messages import name_some
from bcdseg.model.model import Model

NAME = ".progress.jsonl"
RESUME_HINT = "Resume with the same model and options, or choose another folder."

Stamp = tuple[int, int]
"""Size of a file, and its modification time in nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Table rows of one file: an image, or the frames of a clip.

    Attributes:
        file: Path or address of the file.
        rows: Rows of the CSV table, one per scan.
        results: Entries of the JSON table, one per scan.
        clip: Summary of the clip, None for an image.
        pictures: Paths of the masks, overlays, annotations and DICOM output of the file, relative to the folder.
        annotations: Entries of the COCO file, one per scan.
        stamp: Size and modification time of the file when it was read.
        whole: Whether all of it was read and written.
    """

    file: str
    rows: list[dict[str, Any]]
    results: list[dict[str, Any]]
    clip: dict[str, Any] | None = None
    pictures: list[str] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    stamp: Stamp | None = None
    whole: bool = True


class Journal:
    """Run manifest: the records of a run as lines of JSON; those of complete files are also written to the run's folder.

    A resumed run keeps the records in the folder if they are of the same model with the same options.

    The manifest also lists each output file before it is written. A run replaces only files that the manifest in its folder lists:
    a file that no run has written is never replaced, whatever the options are.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.folder = folder
        self.resumes = False
        self._header = _line(settings)
        self._lines: dict[str | tuple[str, ...], bytes] = {}
        self._replaces = overwrite and folder is not None and (folder / NAME).exists()
        self._listed, self._endings = _listed_outputs(folder)
        if resume and folder is None:
            raise OptionError("--resume resumes the run in a folder: name it with --out FOLDER.")
        if resume and overwrite:
            raise OptionError("--resume keeps what is in the folder and --overwrite replaces it: give one of them.")
        if folder is not None and (folder / NAME).exists() and not overwrite:
            if not resume:
                raise OutputExistsError(
                    f"{folder}: contains a run. Resume it with --resume, replace it with --overwrite, or choose another folder."
                )
            self._lines = self._read(folder, settings)
            self.resumes = True

    def write_header(self, sources: Iterable[str] = ()) -> None:
        """Write the manifest's header, on which all results depend.

        Partial files of a killed run are removed. With ``overwrite``, the files of the earlier run are removed too: they are not
        results of this one.

        Args:
            sources: Scans of the run, which are not removed.
        """
        if self.folder is None:
            return
        remove_parts_below(self.folder)
        if self._replaces:
            self._remove_listed(sources)
        self._lines.setdefault((), _line({"writes": []}))
        write_whole(self.folder / NAME, b"".join([self._header, *self._lines.values()]), overwrite=True)

    def check_free(self, outputs: Iterable[str]) -> None:
        """Raise an error if an output file exists already, and the manifest doesn't list it.

        Args:
            outputs: Paths relative to the folder.
        """
        if self.folder is None:
            return
        taken = [one for one in outputs if not self._is_listed(one) and exists(self.folder / one)]
        if taken:  # another process may do the same run, and have listed more files since
            self._listed |= _listed_outputs(self.folder)[0]
        unknown = [self.folder / one for one in taken if not self._is_listed(one)]
        if unknown:
            raise OutputExistsError(
                f"{name_some(unknown, 1)}: exists already, and no run of predict has written it, so that it is not replaced. "
                "Choose another folder (--out)."
            )

    def claim(self, outputs: Iterable[str]) -> None:
        """List output files in the manifest, before they are written.

        Raises:
            OutputExistsError: One exists already, and no run has written it.
        """
        new = tuple(one for one in outputs if one not in self._listed)
        if self.folder is None or not new:
            return
        self.check_free(new)
        line = self._lines[new] = _line({"writes": new})
        append_line(self.folder / NAME, line)
        self._listed.update(new)

    def add(self, record: Record) -> None:
        """Add the record of a file."""
        line = self._lines[record.file] = _line(asdict(record))
        if self.folder is not None and record.whole:
            append_line(self.folder / NAME, line)

    def left(self, files: Iterable[str]) -> list[str]:
        """Return the files that are not done. Their earlier records are removed."""
        left = [file for file in files if not self._is_done(file)]
        for file in left:
            self._lines.pop(file, None)
        return left

    def records(self, files: Iterable[str]) -> Iterator[Record]:
        """Return the records of these files, in their order."""
        return (_record(self._lines[file]) for file in files if file in self._lines)

    def _is_done(self, file: str) -> bool:
        """Return whether a file has a record, is unchanged since, and its masks and overlays still exist."""
        if file not in self._lines or self.folder is None:
            return False
        record = _record(self._lines[file])
        return record.stamp == stamp_of(file) and all((self.folder / one).is_file() for one in record.pictures)

    def write(self, output: str, content: bytes) -> None:
        """Write an output file whole, in place of the one that a run has written.

        Raises:
            OutputExistsError: It exists already, and no run has written it.
            OutputError: It can't be written.
        """
        assert self.folder is not None
        self.claim([output])
        write_whole(self.folder / output, content, overwrite=True)

    def remove(self, outputs: Iterable[str]) -> None:
        """Remove output files that a run has written, as far as they exist; files that the manifest doesn't list stay.

        Raises:
            OutputError: One can't be removed.
        """
        assert self.folder is not None
        for path in (self.folder / one for one in outputs if one in self._listed):
            _remove(path)

    def write_pictures(self, pictures: Mapping[str, bytes]) -> BcdsegError | None:
        """Write the pictures of one scan.

        Returns:
            Error of a picture that can't be written because of its own name or path, while other files can be; None without errors.

        Raises:
            OutputError: No file can be written any more, for example because the disk is full.
        """
        assert self.folder is not None
        try:
            self.claim(pictures)
            for output, content in pictures.items():
                self.write(output, content)
        except (OutputError, OutputExistsError) as error:
            if not can_write(self.folder, max(map(len, pictures.values()))):
                raise
            return error
        return None

    def _is_listed(self, output: str) -> bool:
        return output in self._listed or output.endswith(self._endings)

    def _remove_listed(self, sources: Iterable[str]) -> None:
        """Remove the files of the earlier run."""
        assert self.folder is not None
        kept = {os.path.realpath(source) for source in sources}
        for path in (self.folder / one for one in self._listed):
            if os.path.realpath(path) not in kept:
                _remove(path)
        self._listed.clear()

    def _read(self, folder: Path, settings: Mapping[str, Any]) -> dict[str | tuple[str, ...], bytes]:
        lines = _whole_lines(folder)
        try:
            header, values = json.loads(lines[0]), [(json.loads(line), line) for line in lines[1:]]
            found = {tuple(value["writes"]) if "writes" in value else value["file"]: line for value, line in values}
        except (ValueError, LookupError, TypeError) as error:
            raise OptionError(f"{folder / NAME}: is damaged, so the run can't be resumed. Choose another folder.") from error
        _check_same(folder, header, json.loads(self._header), model=str(settings.get("model")))
        return found


def fingerprint(model: Model) -> str:
    """Return a hash of all that a model's predictions depend on."""
    settings = repr((model.config, model.preprocessing, model.rules)).encode()
    return blake2b(settings + model.weights_key(), digest_size=16).hexdigest()


def settings_of(model: str, weights: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that must be equal for a run to resume."""
    return {"bcdseg": __version__, "model": model, "weights": weights, **options}


def stamp_of(file: str) -> Stamp | None:
    """Return the size and modification time of a file; None for what isn't a file on disk."""
    try:
        found = Path(file).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _whole_lines(folder: Path) -> list[bytes]:
    """Return the lines of a manifest, without one that a killed run left incomplete."""
    return [line for line in (folder / NAME).read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _remove(path: Path) -> None:
    if path.is_file():
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(f"{path}: can't be replaced ({error.strerror}). Choose another folder (--out).") from error


def _listed_outputs(folder: Path | None) -> tuple[set[str], tuple[str, ...]]:
    """Return the paths that the manifest in a folder lists as written, and endings of other files that the run wrote.

    Manifests of earlier versions list the files of each scan only: the names of the others follow from the options.
    """
    if folder is None or not (folder / NAME).exists():
        return set(), ()
    values = [value for line in _whole_lines(folder) if isinstance(value := _parsed(line), dict)]
    listed = {str(one) for value in values for name in ("writes", "pictures") for one in value.get(name) or ()}
    endings: list[str] = []
    if values and "engine" in values[0] and not any("writes" in value for value in values):
        listed |= {"predictions.csv", "predictions.json", "predictions.parquet", "clips.json"}
        listed |= {"annotations.json"} if values[0].get("annotations") == "coco" else set()
        endings = [f"_{kind}.dcm" for kind in values[0].get("dicom") or ()]
    return {one for one in listed if _is_below(one)}, tuple(endings)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_below(output: str) -> bool:
    """Return whether a path of a manifest stays in its folder: nothing else is removed."""
    path = PurePosixPath(output)
    return not path.is_absolute() and ".." not in path.parts


def _check_same(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any], *, model: str) -> None:
    if there.get("weights") != here["weights"]:
        raise OptionError(f"{folder}: contains predictions of another model ({there.get('model')}), not of {model}. {RESUME_HINT}")
    names = [name for name in {**there, **here} if name != "model"]
    other = [f"{name} {there.get(name)!r}, not {here.get(name)!r}" for name in names if there.get(name) != here.get(name)]
    if other:
        raise OptionError(f"{folder}: contains predictions made with {'; '.join(other)}. {RESUME_HINT}")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"  # ASCII, so that file names that are not valid text are restored unchanged


def _record(line: bytes) -> Record:
    values = json.loads(line)
    return Record(**{**values, "stamp": values["stamp"] and tuple(values["stamp"])})
