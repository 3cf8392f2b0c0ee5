"""Join of the tables of all shards of an archive."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bcdseg.batch.run_manifest import NAME
from bcdseg.batch.shards import Shard
from bcdseg.errors import InputError
from bcdseg.files import write_chunks
from bcdseg.messages import name_some

TABLE = "predictions.csv"
BLOCK = 1 << 20
OF_MACHINES = ("device", "runtime")  # settings that may differ between shards


def join_tables(folders: Sequence[Path], out: Path, *, allow_missing: bool = False, overwrite: bool = False) -> list[Shard]:
    """Join the tables of the runs of all shards to one, in the order of the shards, and return the missing shards.

    Each file of the archive is in one shard, so the joined table has each scan once. It is written block by block.

    Args:
        folders: Folder of each run of ``bcdseg predict --shard I/N``.
        out: CSV file to write.
        allow_missing: Whether shards may be missing, such as one that no file belongs to.
        overwrite: Whether a file that exists may be replaced.

    Raises:
        InputError: A folder contains no finished run of a shard, a shard is missing or there twice, or runs differ in model or
            options.
        OutputExistsError: The file exists and may not be replaced.
    """
    by_shard = _by_shard(folders)
    count = next(iter(by_shard)).count
    missing = [shard for index in range(1, count + 1) if (shard := Shard(index, count)) not in by_shard]
    if missing and not allow_missing:
        raise InputError(
            f"{name_some(missing)}: {'this shard is' if len(missing) == 1 else 'these shards are'} missing. Name the folders of "
            "all shards, or give --allow-missing where no file of the archive belongs to them."
        )
    tables = [by_shard[shard] / TABLE for shard in sorted(by_shard, key=lambda one: one.index)]
    first = _columns(tables[0])
    for table in tables[1:]:
        if _columns(table) != first:
            raise InputError(
                f"{table}: has other columns than {tables[0]}. Was it changed? Predict that shard again with --resume."
            )
    write_chunks(out, lambda: _joined(tables), overwrite=overwrite)
    return missing


def _by_shard(folders: Sequence[Path]) -> dict[Shard, Path]:
    """Return the folder of each shard, if they are shards of one archive, of one model with the same options."""
    settings = {folder: _settings(folder) for folder in folders}
    shards = {folder: Shard.parse(own.pop("shard")) for folder, own in settings.items()}
    first = folders[0]
    for folder, own in settings.items():
        if other := sorted(name for name in {**own, **settings[first]} if own.get(name) != settings[first].get(name)):
            raise InputError(f"{folder}: differs from {first} in {name_some(other)}. Join runs of one model with the same options.")
    found: dict[Shard, Path] = {}
    for folder, shard in shards.items():
        if shard.count != shards[first].count:
            raise InputError(f"{folder}: is shard {shard}, and {first} is shard {shards[first]}: the numbers of shards differ.")
        if shard in found:
            raise InputError(f"{folder}: is shard {shard}, and so is {found[shard]}. Name one of them.")
        found[shard] = folder
    return found


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a finished run of a shard."""
    try:
        with (folder / NAME).open("rb") as file:
            found = json.loads(file.readline())
    except (OSError, ValueError):
        found = {}
    if not isinstance(found, dict) or not isinstance(found.get("shard"), str):
        raise InputError(f"{folder}: contains no run of a shard. Name the folders that bcdseg predict --shard has written.")
    if found.get("engine") == "ray":
        raise InputError(
            f"{folder}: Ray has written its table as Parquet files, which are read together with those of other shards."
        )
    if not (folder / TABLE).is_file():
        raise InputError(f"{folder}: its run is not finished, {TABLE} is missing. Run it again with --resume.")
    return {name: value for name, value in found.items() if name not in OF_MACHINES}


def _columns(table: Path) -> list[str]:
    with table.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def _joined(tables: Sequence[Path]) -> Iterator[bytes]:
    """Yield the content of the first table, then the rows of each other one."""
    for number, table in enumerate(tables):
        with table.open("rb") as file:
            if number:
                file.readline()
            while block := file.read(BLOCK):
                yield block
