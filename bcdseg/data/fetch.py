"""Public data sets, fetched from their homes when the user asks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bcdseg.data.archive import download, file_checksum, folder_checksum, unpack
from bcdseg.data.cache_folder import cache_folder
from bcdseg.data.dataset import check_choice
from bcdseg.data.opening import open_dataset
from bcdseg.errors import DatasetError, DataUnavailableError, MissingExtraError, OptionError
from bcdseg.extras import require
from bcdseg.files import sync_all, sync_folder, write_whole

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

    Neither home publishes a checksum. The first fetch records one, and every later call compares with it, so a file that
    changed, here or there, is noticed; give ``sha256`` to hold the first fetch to one that you know.

    Args:
        source: ``"kaggle"`` (needs the extra ``kaggle``; kagglehub keeps its own cache, see its ``KAGGLEHUB_CACHE``), or
            ``"cairo"``, the archive of Cairo University (``BCDSEG_BUSI_URL`` names a mirror).
        cache: Where to keep it; by default ``BCDSEG_CACHE`` or the user's cache folder.
        sha256: What the archive's SHA-256 must be (``"cairo"`` only).
        say: Told the licence, and what is being fetched.

    Raises:
        DataUnavailableError: It can't be reached; the message says what to download by hand and where to put it.
        DatasetError: What came is damaged, or not what came the first time.
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
    """Refuse what is not as it was when it was fetched first."""
    known = json.loads(record.read_text("utf-8")) if record.exists() else {}
    if known.get(what, checksum) != checksum:
        raise DatasetError(
            f"{place}: the {what} is not as it was when it was fetched first (SHA-256 {checksum}, then {known[what]}). "
            f"Delete it to fetch it again; if the new one is wanted, delete {record} too."
        )


def _note(record: Path, facts: dict[str, Any]) -> None:
    write_whole(record, json.dumps(facts, indent=1).encode(), overwrite=True, durable=True)
