"""Uploads read in a process of their own: the same scans, and a process that is replaced."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_scan
from made_dicom import content, dicom, region
from made_jpeg import endless_jpeg
from PIL import Image

from bcdseg import errors
from bcdseg.data.reader_process import BusyError, ReaderProcess, Wanted, read_upload
from bcdseg.web.reader_pool import ReaderPool

PATIENCE = 120


def _png(mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_scan(1)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def process() -> Iterator[ReaderProcess]:
    process = ReaderProcess(60, 100_000, passing=PATIENCE)
    yield process
    process.stop()


CLIP = np.stack([draw_scan(seed) for seed in range(3)])
UPLOADS = {
    "gray": (_png(), {}),
    "colour": (_png("RGB"), {}),
    "16 bits": (content(dicom(draw_scan(1).astype(np.uint16) * 200)), {}),
    "DICOM with areas": (
        content(dicom(draw_scan(2), region((10, 20, 110, 150), (0.02, 0.03)), Modality="MG")),
        {"reference": True},
    ),
    "a frame of a clip": (content(dicom(CLIP, clip=True)), {"frame": 2, "reference": True}),
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_the_process_reads_what_the_library_reads(process: ReaderProcess, kind: str) -> None:
    upload, options = UPLOADS[kind]
    wanted = Wanted(name="upload", most_pixels=100_000, **options)
    here, there = read_upload(upload, wanted), process.read(upload, wanted)
    np.testing.assert_array_equal(there.scan.pixels, here.scan.pixels)
    assert there.scan.pixels.dtype == here.scan.pixels.dtype
    for name in ("source", "frame", "areas", "warnings"):
        assert getattr(there.scan, name) == getattr(here.scan, name)
    assert there.reference == here.reference


@pytest.mark.parametrize(
    ("upload", "options", "kind"),
    [
        (b"", {}, errors.ImageError),
        (_png(), {"most_pixels": 1000}, errors.TooLargeError),
        (_png(), {"frame": 2}, errors.OptionError),
        (_png(), {"reference": True}, errors.OptionError),
        (content(dicom(CLIP, clip=True)), {"frame": 4}, errors.OptionError),
    ],
)
def test_its_errors_are_those_of_the_library(process: ReaderProcess, upload: bytes, options: dict[str, int], kind: type) -> None:
    wanted = Wanted(**{"name": "upload", "most_pixels": 100_000, **options})
    with pytest.raises(kind) as here:
        read_upload(upload, wanted)
    with pytest.raises(kind) as there:
        process.read(upload, wanted)
    assert (type(there.value), str(there.value)) == (type(here.value), str(here.value))


def test_a_process_that_was_killed_is_replaced(process: ReaderProcess) -> None:
    process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    while process.running:
        pass
    assert process.read(_png(), Wanted(name="upload", most_pixels=100_000)).scan.pixels.shape == (120, 160)


@pytest.mark.parametrize("is_urgent", [True, False])
def test_an_upload_that_takes_too_long_is_given_up(is_urgent: bool) -> None:
    process = ReaderProcess(0.5, 25_000_000, passing=PATIENCE)
    process.start()
    with pytest.raises(errors.ImageError, match=r"upload: reading it took longer than 0\.5 s"):
        process.read(endless_jpeg(), Wanted(name="upload", most_pixels=25_000_000), is_urgent=is_urgent)
    assert process.running == (sys.platform.startswith("linux") and not is_urgent)  # else a fork has ended
    process.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="processes can't be paused")
def test_an_upload_is_not_blamed_for_a_busy_machine() -> None:
    process = ReaderProcess(1, 100_000, passing=0.2)
    process.start()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)  # it gets no processor time
    with pytest.raises(BusyError, match=r"upload: was not read within 0\.2 s, since the machine is busy"):
        process.read(_png(), Wanted(name="upload", most_pixels=100_000))
    assert not process.running


def children(pid: int) -> list[int]:
    found = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(one) for one in found.split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the processes of a process are not known here")
def test_a_spare_process_reads_while_one_that_a_file_has_ended_is_replaced() -> None:
    wanted = Wanted(name="upload", most_pixels=25_000_000)
    pool = ReaderPool(1, seconds=PATIENCE, passing=PATIENCE, most_pixels=25_000_000)
    with ThreadPoolExecutor() as threads:
        assert pool.read(_png(), wanted).scan.pixels.shape == (120, 160)
        while pool.running < 2:
            time.sleep(0.01)
        reading = threads.submit(pool.read, endless_jpeg(), wanted, is_urgent=False)
        while not (forks := [fork for child in children(os.getpid()) for fork in children(child)]):
            time.sleep(0.01)
        os.kill(forks[0], signal.SIGKILL)  # as the system does when memory runs out
        with pytest.raises(errors.ImageError, match=r"ended the process that reads uploads \(-9\)"):
            reading.result()
        assert pool.running
        assert pool.read(_png(), wanted).scan.pixels.shape == (120, 160)
        while pool.running < 2:  # the other one is started again
            time.sleep(0.01)
        pool.stop()
    assert not pool.running
    with pytest.raises(BusyError, match="the server is stopping"):
        pool.read(_png(), wanted)
