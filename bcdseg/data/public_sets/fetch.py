"""Public data sets, fetched once into the cache."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bcdseg.data.opening import open_dataset
from bcdseg.data.public_sets.catalogue import PublicSet, RemoteFile, public_set
from bcdseg.data.public_sets.download import download, file_checksum, folder_checksum, forget, part_of_download, unpack
from bcdseg.deprecation import renamed_arguments
from bcdseg.errors import DatasetError, DataUnavailableError, MissingExtraError, OptionError
from bcdseg.extras import require
from bcdseg.files import cache_folder, sync_all, sync_folder, write_whole
from bcdseg.messages import check_choice

Log = Callable[[str], object]


@renamed_arguments("0.2.0", say="log")
def fetch_dataset(
    name: str,
    *,
    accept_licence: bool = False,
    source: str | None = None,
    cache: str | PathLike[str] | None = None,
    sha256: str | None = None,
    log: Log = print,
) -> Path:
    """Fetch a public data set once and return its folder, for ``bcdseg.open_dataset``.

    An interrupted download resumes. The archive is compared with its checksum where one is known. Else the first fetch reports and
    records the checksum; every later call compares with the record, so that a change at the source or on disk is noticed.

    Args:
        name: ``"busi"``, ``"bus-bra"``, ``"breast"`` or ``"bus-uclm"``.
        accept_licence: Whether you accept the licence, which is shown, and needed for the first fetch only.
        source: Source of the files; by default the publisher's. BUSI can also be fetched from ``"kaggle"`` (needs the extra
            ``kaggle``; kagglehub has its own cache, see its ``KAGGLEHUB_CACHE``). The environment variable ``BCDSEG_DATA_MIRROR``
            is the address of a folder with the same files.
        cache: Folder for the data set; by default ``BCDSEG_CACHE`` or the user's cache folder.
        sha256: Expected SHA-256 of the archive, in place of the known one.
        log: Function that is called with the licence and with progress messages.

    Raises:
        OptionError: There is no such data set or source, or the licence is not accepted.
        DataUnavailableError: The source can't be reached; the message states what to download by hand and where to put it.
        DatasetError: The fetched data are damaged, have another checksum, or differ from those of the first fetch.
        OutputError: The disk is full, or another process fetches the same data set.
        MissingExtraError: kagglehub isn't installed.
    """
    wanted = public_set(name)
    source = source or wanted.source_names[0]
    check_choice("source", source, wanted.source_names)
    home = Path(cache or cache_folder()) / name
    if source != "kaggle" and (home / source).is_dir():
        _compare(home / f"{source}.json", "folder", folder_checksum(home / source), home / source)
        return home / source
    log(wanted.licence)
    if not accept_licence:
        raise OptionError(
            f"{wanted.title} is fetched only if you accept its licence, shown above: accept_licence=True, --accept-licence."
        )
    if source == "kaggle":
        if sha256 is not None:
            raise OptionError("sha256 is of an archive; what kagglehub fetches has no archive to compare. Leave it out.")
        return _from_kaggle(wanted, home, log)
    return _from_publisher(wanted, source, home, sha256, log)


@renamed_arguments("0.2.0", say="log")
def fetch_busi(
    source: str = "kaggle",
    *,
    cache: str | PathLike[str] | None = None,
    sha256: str | None = None,
    log: Log = print,
) -> Path:
    """Fetch BUSI, whose licence is CC0: ``fetch_dataset("busi", source=source, accept_licence=True)``.

    Args:
        source: ``"kaggle"`` (needs the extra ``kaggle``), or ``"cairo"``, the archive of Cairo University.
        cache: Folder for the data set; by default ``BCDSEG_CACHE`` or the user's cache folder.
        sha256: Expected SHA-256 of the archive (``"cairo"`` only).
        log: Function that is called with the licence and with progress messages.

    Raises:
        DataUnavailableError: The source can't be reached; the message states what to download by hand and where to put it.
        DatasetError: The fetched data are damaged, or differ from those of the first fetch.
        MissingExtraError: kagglehub isn't installed.
    """
    return fetch_dataset("busi", accept_licence=True, source=source, cache=cache, sha256=sha256, log=log)


def _from_kaggle(wanted: PublicSet, home: Path, log: Log) -> Path:
    try:
        kagglehub = require("kagglehub", extra="kaggle", purpose="Fetching from Kaggle")
    except MissingExtraError as error:
        raise MissingExtraError(f"{error} Or use source='{wanted.source_names[0]}'.") from error
    log(f"Fetching {wanted.kaggle} with kagglehub, where it isn't there already")
    try:
        folder = Path(kagglehub.dataset_download(wanted.kaggle))
    except Exception as error:  # kagglehub raises errors of several libraries
        page = f"https://www.kaggle.com/datasets/{wanted.kaggle}"
        reason = f"{wanted.title} can't be fetched from Kaggle ({error})."
        raise DataUnavailableError(f"{reason} {_by_hand(wanted, home, page)}") from None
    checksum, record = folder_checksum(folder), home / "kaggle.json"
    _compare(record, "folder", checksum, folder)
    _note(record, {"source": wanted.kaggle, "folder": checksum})
    return folder


def _from_publisher(wanted: PublicSet, source: str, home: Path, sha256: str | None, log: Log) -> Path:
    """Fetch the files of a source, unpack the archive, and move the folder to its place when it is complete."""
    record, folder, files = home / f"{source}.json", home / source, wanted.sources[source]
    paths = [_fetched(wanted, file, home, log) for file in files]
    expected = [sha256 or files[0].sha256, *(file.sha256 for file in files[1:])]
    checksums = {}
    try:
        for what, file, path, known in zip(("archive", "table"), files, paths, expected, strict=False):
            checksums[what] = _checked(what, file.name, path, known, log)
            _compare(record, what, checksums[what], path)
        with TemporaryDirectory(dir=home) as name:
            unpacked = Path(name) / "unpacked"
            unpack(paths[0], unpacked, files[0].name)
            for file, path in zip(files[1:], paths[1:], strict=True):
                shutil.copyfile(path, unpacked / file.name)
            samples = len(open_dataset(unpacked, wanted.layout, on_problem="skip"))
            _note(record, {"source": files[0].url, **checksums, "folder": folder_checksum(unpacked)})
            sync_all()
            unpacked.replace(folder)
            sync_folder(home)
    except DatasetError:
        _remove_downloads(paths)
        raise
    _remove_downloads(paths)
    log(f"{samples} scans in {folder}; SHA-256 of the archive {checksums['archive']}, recorded in {record.name}")
    return folder


def _fetched(wanted: PublicSet, file: RemoteFile, home: Path, log: Log) -> Path:
    """Return the path of a file: the one that was put into the cache by hand, or its download."""
    by_hand = home / file.name
    if by_hand.exists():
        return by_hand
    part = part_of_download(by_hand)
    url = _address(wanted, file)
    try:
        download(url, part, log)
    except ConnectionError as error:
        if not part.stat().st_size:
            forget(part)
        reason = f"{wanted.title} can't be fetched from {url} ({error})."
        raise DataUnavailableError(f"{reason} {_by_hand(wanted, home, url)}") from None
    except DatasetError:
        forget(part)
        raise
    return part


def _address(wanted: PublicSet, file: RemoteFile) -> str:
    if wanted.name == "busi" and (mirror := os.environ.get("BCDSEG_BUSI_URL")):
        return mirror
    if mirror := os.environ.get("BCDSEG_DATA_MIRROR"):
        return f"{mirror.rstrip('/')}/{file.name}"
    return file.url


def _remove_downloads(paths: list[Path]) -> None:
    """Remove what was downloaded, and keep what was put there by hand."""
    for path in paths:
        if path.suffix == ".part":
            forget(path)


def _by_hand(wanted: PublicSet, home: Path, url: str) -> str:
    """Return what to do without a connection."""
    files = wanted.sources[wanted.source_names[0]]
    places = " and ".join(f"{home / file.name}" for file in files)
    what = "it" if len(files) == 1 else "them"
    return (
        f"Download {' and '.join(file.name for file in files)} in a browser from {url} or {wanted.page}, "
        f"put {what} at {places}, and fetch again with source='{wanted.source_names[0]}'."
    )


def _checked(what: str, name: str, path: Path, expected: str | None, log: Log) -> str:
    """Return the SHA-256 of a file after comparing it with the expected one."""
    checksum = file_checksum(path)
    if expected is None:
        log(f"{name}: no checksum is known; the SHA-256 of the downloaded file is {checksum}, which is recorded")
    elif checksum != expected.lower():
        other = f" If you have checked another version, give its checksum: sha256='{checksum}'." * (what == "archive")
        raise DatasetError(
            f"{name}: its SHA-256 is {checksum}, not {expected}. It is damaged or another version. Fetch it again.{other}"
        )
    return checksum


def _compare(record: Path, what: str, checksum: str, place: Path) -> None:
    """Raise an error if the checksum differs from that of the first fetch."""
    known = json.loads(record.read_text("utf-8")) if record.exists() else {}
    if known.get(what, checksum) != checksum:
        raise DatasetError(
            f"{place}: the {what} has changed since it was fetched first (SHA-256 {checksum}, then {known[what]}). "
            f"Delete it to fetch it again; if the new one is wanted, delete {record} too."
        )


def _note(record: Path, facts: dict[str, Any]) -> None:
    write_whole(record, json.dumps(facts, indent=1).encode(), overwrite=True, durable=True)
