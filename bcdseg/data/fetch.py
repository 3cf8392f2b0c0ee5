"""Public data sets, downloaded and unpacked on request."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from os import PathLike
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from bcdseg.data.dataset import check_choice
from bcdseg.data.opening import open_dataset
from bcdseg.errors import DatasetError, DataUnavailableError, MissingExtraError, OptionError
from bcdseg.extras import require
from bcdseg.files import cache_folder, sync_all, sync_folder, write_whole

SOURCES = ("kaggle", "cairo")
ARCHIVE = "Dataset_BUSI.zip"
CAIRO = f"https://scholar.cu.edu.eg/{ARCHIVE}"
KAGGLE = "aryashah2k/breast-ultrasound-images-dataset"
KAGGLE_PAGE = f"https://www.kaggle.com/datasets/{KAGGLE}"
LICENCE = (
    "BUSI, the Breast Ultrasound Images dataset, is listed on Kaggle as CC0 (public domain); its article is CC BY 4.0.\n"
    "Cite it wherever images are shown: W. Al-Dhabyani, M. Gomaa, H. Khaled, A. Fahmy, Dataset of breast ultrasound images, "
    "Data in Brief 28 (2020) 104863, doi 10.1016/j.dib.2019.104863."
)


def fetch_busi(
    source: str = "kaggle",
    *,
    cache: str | PathLike[str] | None = None,
    sha256: str | None = None,
    say: Callable[[str], object] = print,
) -> Path:
    """Fetch BUSI once and return its folder, for ``bcdseg.open_dataset``.

    Neither source publishes a checksum. The first fetch records one and every later call compares with it, so that a change at the
    source or on disk is noticed; ``sha256`` checks the first fetch too.

    Args:
        source: ``"kaggle"`` (needs the extra ``kaggle``; kagglehub has its own cache, see its ``KAGGLEHUB_CACHE``), or ``"cairo"``,
            the archive of Cairo University (``BCDSEG_BUSI_URL`` names a mirror).
        cache: Folder for the data set; by default ``BCDSEG_CACHE`` or the user's cache folder.
        sha256: Expected SHA-256 of the archive (``"cairo"`` only).
        say: Function that is called with the licence and with progress messages.

    Raises:
        DataUnavailableError: The source can't be reached; the message states what to download by hand and where to put it.
        DatasetError: The fetched data are damaged, or differ from those of the first fetch.
        MissingExtraError: kagglehub isn't installed.
    """
    check_choice("source", source, SOURCES)
    say(LICENCE)
    home = Path(cache or cache_folder()) / "busi"
    if source == "kaggle":
        if sha256 is not None:
            raise OptionError("sha256 is of the archive of source='cairo'; what kagglehub fetches has no archive to compare.")
        return _from_kaggle(home, say)
    return _from_cairo(home, sha256, say)


def _from_kaggle(home: Path, say: Callable[[str], object]) -> Path:
    try:
        kagglehub = require("kagglehub", extra="kaggle", purpose="Fetching from Kaggle")
    except MissingExtraError as error:
        raise MissingExtraError(f"{error} Or use source='cairo'.") from error
    say(f"Fetching {KAGGLE} with kagglehub, where it isn't there already")
    try:
        folder = Path(kagglehub.dataset_download(KAGGLE))
    except Exception as error:  # kagglehub raises errors of several libraries
        raise DataUnavailableError(f"BUSI can't be fetched from Kaggle ({error}). {_by_hand(home, KAGGLE_PAGE)}") from error
    checksum, record = folder_checksum(folder), home / "kaggle.json"
    _compare(record, "folder", checksum, folder)
    _note(record, {"source": KAGGLE, "folder": checksum})
    return folder


def _from_cairo(home: Path, sha256: str | None, say: Callable[[str], object]) -> Path:
    folder, record = home / "cairo", home / "cairo.json"
    if folder.is_dir():
        _compare(record, "folder", folder_checksum(folder), folder)
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=home) as name:
        archive, url = home / ARCHIVE, "put there by hand"
        if not archive.exists():
            archive, url = Path(name) / ARCHIVE, os.environ.get("BCDSEG_BUSI_URL", CAIRO)
            _download(url, archive, home, say)
        checksum = file_checksum(archive)
        if sha256 is not None and checksum != sha256.lower():
            raise DatasetError(
                f"{archive.name} from {url}: its SHA-256 is {checksum}, not {sha256}. It is damaged or another file."
            )
        _compare(record, "archive", checksum, archive)
        unpacked = Path(name) / "unpacked"
        unpack(archive, unpacked)
        samples = len(open_dataset(unpacked, "busi", on_problem="skip"))
        _note(record, {"source": url, "archive": checksum, "folder": folder_checksum(unpacked)})
        sync_all()
        unpacked.replace(folder)
        sync_folder(home)
    say(f"{samples} scans in {folder}; SHA-256 of the archive {checksum}, recorded in {record.name}")
    return folder


def _download(url: str, archive: Path, home: Path, say: Callable[[str], object]) -> None:
    say(f"Fetching {url}")
    try:
        download(url, archive)
    except OSError as error:
        raise DataUnavailableError(f"BUSI can't be fetched from {url} ({error}). {_by_hand(home, url)}") from error


def _by_hand(home: Path, url: str) -> str:
    return f"Download the archive from {url} in a browser, put it at {home / ARCHIVE}, and fetch again with source='cairo'."


def _compare(record: Path, what: str, checksum: str, place: Path) -> None:
    """Raise an error if the checksum differs from that of the first fetch."""
    known = json.loads(record.read_text("utf-8")) if record.exists() else {}
    if known.get(what, checksum) != checksum:
        raise DatasetError(
            f"{place}: the {what} is not as it was when it was fetched first (SHA-256 {checksum}, then {known[what]}). "
            f"Delete it to fetch it again; if the new one is wanted, delete {record} too."
        )


def _note(record: Path, facts: dict[str, Any]) -> None:
    write_whole(record, json.dumps(facts, indent=1).encode(), overwrite=True, durable=True)


MOST_DOWNLOADED = 2 * 1024**3
MOST_UNPACKED = 4 * 1024**3
MOST_FILES = 50_000
SECONDS = 60
CHUNK = 1024**2


def download(url: str, target: Path) -> None:
    """Download a file over HTTP.

    Raises:
        OptionError: The address is not a web address.
        OSError: The server can't be reached, or the download broke off.
        DatasetError: The file is larger than the data set can be.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise OptionError(f"{url}: is no web address. Give one that begins with http:// or https://.")
    try:
        with urlopen(Request(url, headers={"User-Agent": "bcdseg"}), timeout=SECONDS) as response, target.open("wb") as file:
            declared = int(response.headers.get("Content-Length") or -1)
            received = 0
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if received > MOST_DOWNLOADED:
                    raise DatasetError(f"{url}: sends more than {MOST_DOWNLOADED:,} bytes, which the data set can't have.")
                file.write(chunk)
    except HTTPException as error:
        raise ConnectionError(f"the download broke off ({error!r})") from error
    if declared not in (-1, received):
        raise ConnectionError(f"the download broke off after {received:,} of {declared:,} bytes")


def unpack(path: Path, folder: Path) -> None:
    """Extract a zip archive into a new folder.

    Raises:
        DatasetError: The archive is damaged or too large, or has paths or links that lead out of the folder.
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
