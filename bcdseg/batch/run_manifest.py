"""Run manifest, with which a stopped run resumes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bcdseg import __version__
from bcdseg.errors import OptionError, OutputExistsError
from bcdseg.files import append_line, remove_parts_below, write_whole
from bcdseg.model.model import Model

NAME = ".progress.jsonl"
GO_ON = "Resume with the same model and options, or choose another folder."

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
        pictures: Paths of the masks, overlays and annotations of the file, relative to the folder.
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
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.folder = folder
        self.goes_on = False
        self._header = _line(settings)
        self._lines: dict[str, bytes] = {}
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
            self.goes_on = True

    def begin(self) -> None:
        """Write the manifest's header, on which all results depend. Partial files of a killed run are removed."""
        if self.folder is not None:
            remove_parts_below(self.folder)
            write_whole(self.folder / NAME, b"".join([self._header, *self._lines.values()]), overwrite=True)

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

    def _read(self, folder: Path, settings: Mapping[str, Any]) -> dict[str, bytes]:
        lines = [line for line in (folder / NAME).read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        try:
            header, found = json.loads(lines[0]), {json.loads(line)["file"]: line for line in lines[1:]}
        except (ValueError, LookupError, TypeError) as error:
            raise OptionError(f"{folder / NAME}: is damaged, so that nothing can go on. Choose another folder.") from error
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


def _check_same(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any], *, model: str) -> None:
    if there.get("weights") != here["weights"]:
        raise OptionError(f"{folder}: contains predictions of another model ({there.get('model')}), not of {model}. {GO_ON}")
    names = [name for name in {**there, **here} if name != "model"]
    other = [f"{name} {there.get(name)!r}, not {here.get(name)!r}" for name in names if there.get(name) != here.get(name)]
    if other:
        raise OptionError(f"{folder}: contains predictions made with {'; '.join(other)}. {GO_ON}")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"  # ASCII, so that file names that are not valid text are restored unchanged


def _record(line: bytes) -> Record:
    values = json.loads(line)
    return Record(**{**values, "stamp": values["stamp"] and tuple(values["stamp"])})
