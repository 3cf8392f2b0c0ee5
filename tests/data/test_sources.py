"""Folders, patterns and collections become single images, in order."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bcdseg import errors
from bcdseg.data.readers import expand, is_single


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "scan (10).png",
        "scan (2).png",
        "scan (2)_mask.png",
        "scan (2)_mask_1.png",
        "notes.txt",
        ".hidden.png",
        "sub/a.JPG",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_folder_gives_its_images_in_natural_order_without_masks(folder: Path) -> None:
    names = [Path(str(source)).relative_to(folder).as_posix() for source in expand(folder)]
    assert names == ["scan (2).png", "scan (10).png", "sub/a.JPG"]


def test_a_pattern(folder: Path) -> None:
    assert [Path(str(source)).name for source in expand(str(folder / "scan*.png"))] == ["scan (2).png", "scan (10).png"]
    assert [Path(str(source)).name for source in expand(str(folder / "**/*.JPG"))] == ["a.JPG"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    odd = tmp_path / "scan [1]*.png"
    odd.write_bytes(b"")
    assert is_single(str(odd))
    assert list(expand(str(odd))) == [str(odd)]


def test_a_missing_file_with_brackets_is_a_missing_file_not_an_empty_pattern(tmp_path: Path) -> None:
    assert is_single(str(tmp_path / "scan [1].png"))


def test_collections_and_generators_may_mix(folder: Path) -> None:
    array = np.zeros((20, 20))
    found = list(expand(source for source in (folder, array, [str(folder / "sub")])))
    assert [isinstance(source, Path) for source in found] == [True, True, True, False, True]


@pytest.mark.parametrize(
    "source", ["a.png", b"123", np.zeros((3, 3)), Image.new("L", (20, 20)), io.BytesIO(), 7], ids=lambda s: type(s).__name__
)
def test_one_image_is_one(source: object) -> None:
    assert is_single(source)


def test_finding_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ImageNotFoundError, match="the folder contains no image"):
        list(expand(tmp_path))
    with pytest.raises(errors.ImageNotFoundError, match="the pattern contains no image"):
        list(expand(str(tmp_path / "*.png")))
