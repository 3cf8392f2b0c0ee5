"""The test files that come with pydicom, scikit-image and others, and a file of each format that Pillow writes."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pydicom
import pytest
import skimage
import sklearn
from fuzz.seeds import COLOUR
from PIL import Image

from bcdseg.data.images import FORMATS, read_image
from bcdseg.data.readers import expand, read_scan
from bcdseg.errors import BcdsegError
from bcdseg.sources import is_dicom

DICOM = Path(pydicom.__file__).parent / "data"
IMAGES = (
    Path(skimage.__file__).parent / "data",
    Path(matplotlib.__file__).parent / "mpl-data" / "sample_data",
    Path(sklearn.__file__).parent / "datasets" / "images",
)


def read_each(files: list[Path]) -> Counter[str]:
    """Read all files, and count those read and those refused."""
    counts: Counter[str] = Counter()
    for path in files:
        problem = ""
        try:
            for frame in expand(path):
                assert min(read_scan(frame).pixels.shape[:2]) >= 16
        except BcdsegError as error:
            problem = str(error)
        assert not problem or path.name in problem, problem
        counts["refused" if problem else "read"] += 1
    return counts


@pytest.mark.filterwarnings("ignore")
def test_files_of_pydicom_are_read_or_refused() -> None:
    counts = read_each([path for path in sorted(DICOM.rglob("*")) if path.is_file() and is_dicom(path)])
    assert counts["read"] >= 40
    assert counts["refused"] >= 10


def test_pixels_of_pydicoms_files_are_those_that_pydicom_reads() -> None:
    compared = 0
    for name in ("SC_rgb_rle.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "examples_rgb_color.dcm"):
        path = DICOM / "test_files" / name
        if path.exists() and min(pydicom.dcmread(path).pixel_array.shape[:2]) >= 16:
            np.testing.assert_array_equal(read_scan(path).pixels, pydicom.dcmread(path).pixel_array)
            compared += 1
    assert compared >= 2


@pytest.mark.filterwarnings("ignore")
def test_files_of_scikit_image_and_others_are_read_or_refused() -> None:
    suffixes = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".npy", ".npz", ".txt", ".json"}
    files = [path for folder in IMAGES for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
    counts = read_each(files)
    assert counts["read"] >= 10


@pytest.mark.filterwarnings("ignore")
def test_each_format_that_pillow_writes_is_read_or_refused() -> None:
    Image.init()
    read = set()
    for form in sorted(Image.SAVE):
        content = _written(form)
        try:
            assert content is None or read_image(content).shape == COLOUR.shape
            read |= {form} if content else set()
        except BcdsegError:
            continue
    assert read >= set(FORMATS)


def _written(form: str) -> bytes | None:
    buffer = io.BytesIO()
    try:
        Image.fromarray(COLOUR).save(buffer, form)
    except (OSError, KeyError, ValueError, ImportError):  # a format that needs another mode, or a library that is not there
        return None
    return buffer.getvalue()
