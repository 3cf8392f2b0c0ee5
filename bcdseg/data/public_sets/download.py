"""Files downloaded over HTTP, resumed after an interruption, and zip archives unpacked."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException
from io import SEEK_END, FileIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from bcdseg.errors import DatasetError, OptionError, OutputError
from bcdseg.files import write_whole
from bcdseg.partial import lock_until_closed

MOST_DOWNLOADED = 2 * 1024**3
MOST_UNPACKED = 4 * 1024**3
MOST_FILES = 50_000
SECONDS = 20  # without a byte from the server
CHUNK = 1024**2


@dataclass(frozen=True)
class _Progress:
    """Record of an unfinished download: its address, the version of the file that the server names, and its size."""

    url: str
    version: str | None = None
    size: int | None = None


def part_of_download(target: Path) -> Path:
    """Return the path of the unfinished download of a file."""
    return target.with_name(f"{target.name}.part")


def download(url: str, part: Path, log: Callable[[str], object]) -> None:
    """Download a file over HTTP, and resume if a part of it is there already.

    An interrupted download resumes by itself as long as each attempt receives something, and at the next call otherwise. It starts
    again from the first byte if the server has another version of the file, or can't send a part of it.

    Args:
        url: Web address.
        part: File that receives the content; a file next to it records which version it belongs to.
        log: Function that is called with progress messages.

    Raises:
        OptionError: The address is not a web address.
        ConnectionError: The server can't be reached, or the download broke off.
        DatasetError: The file is larger than a data set can be.
        OutputError: The disk is full, or another process downloads the file.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise OptionError(f"{url}: is not a web address. Give one that starts with http:// or https://.")
    with _open_alone(part) as file:
        size = None
        while size is None or _size_of(file) < size:
            before = _size_of(file)
            try:
                size = _receive(url, file, part, log)
            except (HTTPException, OSError) as error:
                if isinstance(error, OutputError):
                    raise
                if _size_of(file) <= before:
                    raise ConnectionError(_broken_off(error, _size_of(file))) from None


def forget(part: Path) -> None:
    """Remove an unfinished or finished download and its record."""
    part.unlink(missing_ok=True)
    _record_of(part).unlink(missing_ok=True)


def _open_alone(part: Path) -> FileIO:
    """Open an unfinished download for appending, unless another process writes it."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("ab", buffering=0)
    except OSError as error:
        raise OutputError(f"{part}: can't be written ({error.strerror}). Choose another cache folder.") from None
    if not lock_until_closed(file.fileno()):
        file.close()
        raise OutputError(f"{part}: another process downloads this file. Wait for it.")
    return file


def _receive(url: str, file: FileIO, part: Path, log: Callable[[str], object]) -> int:
    """Receive the rest of a file, and return the size of the whole file."""
    known = _read_record(part)
    start = _size_of(file)
    if start and (known.url != url or known.version is None):
        file.truncate(start := 0)
    if start and start == known.size:
        return start
    headers = {"User-Agent": "bcdseg", "Accept-Encoding": "identity"}
    if start and known.version:
        headers |= {"Range": f"bytes={start}-", "If-Range": known.version}
    with urlopen(Request(url, headers=headers), timeout=SECONDS) as response:
        is_rest = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and not is_rest:
            file.truncate(start := 0)
        declared = response.headers.get("Content-Length")
        size = None if declared is None else start + int(declared)
        _check_size(url, size or 0)
        _check_space(part, size, start)
        progress = _Progress(url, _version(response.headers), size)
        write_whole(_record_of(part), json.dumps(asdict(progress)).encode(), overwrite=True)
        log(f"{'Resuming' if start else 'Fetching'} {url}{'' if size is None else f' ({start:,} of {size:,} bytes are there)'}")
        while chunk := response.read(CHUNK):
            _check_size(url, _size_of(file) + len(chunk))
            _append(file, chunk, part)
    if size is not None and _size_of(file) < size:
        raise ConnectionError(f"the download broke off after {_size_of(file):,} of {size:,} bytes")
    return _size_of(file)


def _size_of(file: FileIO) -> int:
    return file.seek(0, SEEK_END)


def _version(headers: Any) -> str | None:
    """Return what identifies the version of a file on a server; a weak ETag doesn't identify its bytes."""
    tag: str | None = headers.get("ETag")
    changed: str | None = headers.get("Last-Modified")
    return tag if tag and not tag.startswith("W/") else changed


def _append(file: FileIO, chunk: bytes, part: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise OutputError(
            f"{part}: can't be written ({error.strerror}). Free space on this disk, or choose another cache folder; "
            "what has been downloaded is kept, and fetching again resumes."
        ) from None


def _check_size(url: str, size: int) -> None:
    if size > MOST_DOWNLOADED:
        raise DatasetError(f"{url}: sends more than {MOST_DOWNLOADED:,} bytes, which the data set can't have.")


def _check_space(part: Path, size: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if size is not None and size - start > free:
        raise OutputError(
            f"{part}: needs {size - start:,} more bytes, and {free:,} are free on this disk. Free some, or choose another folder."
        )


def _broken_off(error: Exception, received: int) -> str:
    reason = error.reason if isinstance(error, URLError) and not hasattr(error, "code") else error
    kept = f"; {received:,} bytes are kept, and fetching again resumes" if received else ""
    return f"{reason or type(error).__name__}{kept}"


def _record_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_record(part: Path) -> _Progress:
    try:
        return _Progress(**json.loads(_record_of(part).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return _Progress("")


def unpack(path: Path, folder: Path, name: str) -> None:
    """Extract a zip archive into a new folder.

    Args:
        path: The archive.
        folder: The folder.
        name: Name of the archive in messages.

    Raises:
        DatasetError: The archive is damaged or too large, or has paths or links that lead out of the folder.
        OutputError: The folder can't be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_UNPACKED:
                raise DatasetError(f"{name}: unpacks to more than {MOST_FILES:,} files or {MOST_UNPACKED:,} bytes; nothing was.")
            folder.mkdir()
            for member in members:
                target = folder / _safe(member, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DatasetError(f"{name}: is not a zip archive, or a damaged one ({error}). Fetch it again.") from error
    except OSError as error:
        raise OutputError(f"{folder}: can't be written ({error.strerror}). Free space, or choose another cache folder.") from error


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_checksum(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_checksum(path)}\n".encode())
    return digest.hexdigest()


def _safe(member: zipfile.ZipInfo, name: str) -> PurePosixPath:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or stat.S_ISLNK(member.external_attr >> 16):
        raise DatasetError(f"{name}: has an entry that leads out of its folder ({member.filename!r}); nothing was unpacked.")
    return path
