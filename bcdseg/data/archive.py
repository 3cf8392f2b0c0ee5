"""An archive fetched and unpacked with care: bounded in size, no path outside of its folder, nothing half done."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from bcdseg.errors import DatasetError, OptionError

MOST_DOWNLOADED = 2 * 1024**3
MOST_UNPACKED = 4 * 1024**3
MOST_FILES = 50_000
SECONDS = 60
CHUNK = 1024**2


def download(url: str, target: Path) -> None:
    """Fetch a file over HTTP.

    Raises:
        OptionError: The address is none of the web.
        OSError: It can't be reached, or broke off.
        DatasetError: It is larger than anything expected.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise OptionError(f"{url}: is no web address. Give one that begins with http:// or https://.")
    try:
        with urlopen(Request(url, headers={"User-Agent": "bcdseg"}), timeout=SECONDS) as answer, target.open("wb") as file:
            declared = int(answer.headers.get("Content-Length") or -1)
            received = 0
            while chunk := answer.read(CHUNK):
                received += len(chunk)
                if received > MOST_DOWNLOADED:
                    raise DatasetError(f"{url}: sends more than {MOST_DOWNLOADED:,} bytes, which the data set can't have.")
                file.write(chunk)
    except HTTPException as error:
        raise ConnectionError(f"the download broke off ({error!r})") from error
    if declared not in (-1, received):
        raise ConnectionError(f"the download broke off after {received:,} of {declared:,} bytes")


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip archive into a folder that is made for it.

    Raises:
        DatasetError: It is damaged, too large, or has paths or links that lead out of the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_UNPACKED:
                raise DatasetError(
                    f"{path.name}: unpacks to more than {MOST_FILES:,} files or {MOST_UNPACKED:,} bytes; nothing was."
                )
            folder.mkdir()
            for member in members:
                target = folder / _safe(member, path.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DatasetError(f"{path.name}: is no zip archive, or a damaged one ({error}). Fetch it again.") from error


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_checksum(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_checksum(path)}\n".encode())
    return digest.hexdigest()


def _safe(member: zipfile.ZipInfo, name: str) -> PurePosixPath:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or stat.S_ISLNK(member.external_attr >> 16):
        raise DatasetError(f"{name}: has an entry that leads out of its folder ({member.filename!r}); nothing was unpacked.")
    return path
