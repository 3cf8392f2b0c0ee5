"""Files after a power loss, by a model of a disk that contains flushed data only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import bcdseg
from bcdseg.files import write_whole

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the path of an open file is not known here")


class Disk:
    """Disk with the contents of files and the names in folders at their last flush.

    A file that gets its final name must have been flushed before, since a system may write names early.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        flush, replace = os.fsync, Path.replace

        def note(handle: int) -> None:
            flush(handle)
            status, opened = os.fstat(handle), Path(f"/proc/self/fd/{handle}")
            if stat.S_ISDIR(status.st_mode):
                self._names[status.st_ino] = {path.name: path.stat().st_ino for path in opened.iterdir()}
            else:
                self._contents[status.st_ino] = opened.read_bytes()

        def check(source: Path, target: Any) -> Path:
            assert source.is_dir() or self._contents[source.stat().st_ino] == source.read_bytes(), source
            return replace(source, target)

        monkeypatch.setattr(os, "fsync", note)
        monkeypatch.setattr(Path, "replace", check)

    def read(self, path: Path, below: Path) -> bytes:
        """Return the content of a file after a power loss; ``below`` is a folder that was on the disk before."""
        inode = below.stat().st_ino
        for part in path.relative_to(below).parts:
            inode = self._names[inode][part]
        return self._contents[inode]


def test_a_durable_file_is_on_the_disk_with_its_new_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "new" / "folders" / "file"
    for content in (b"first", b"second"):
        write_whole(path, content, overwrite=True, durable=True)
        assert disk.read(path, tmp_path) == content


def test_a_saved_model_is_on_the_disk_also_in_place_of_another_one(
    small_model: bcdseg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, folder = Disk(monkeypatch), tmp_path / "models" / "small"
    for name in ("one", "two"):
        model = bcdseg.Model(small_model.network, small_model.preprocessing, small_model.rules, name=name)
        model.save(folder, overwrite=True)
        for path in folder.iterdir():
            assert disk.read(path, tmp_path) == path.read_bytes(), path


def test_a_split_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    divided = bcdseg.split(bcdseg.open_dataset(bcdseg.sample_scans()), seed=0)  # it may write a cache, which need not be durable
    disk = Disk(monkeypatch)
    divided.save(tmp_path / "split.json")
    assert disk.read(tmp_path / "split.json", tmp_path) == (tmp_path / "split.json").read_bytes()
