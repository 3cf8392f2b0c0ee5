"""A separate process that reads untrusted uploads, and that is replaced when a file ends it.

Decoders are written in C and can't be interrupted: a JPEG of one megabyte can keep one busy for minutes. The process receives the
file's bytes and returns metadata as JSON and pixels as raw bytes; nothing is pickled. A file that is known to take long is read in
a fork of it, where the system is Linux, so that its end is not that of the process. A fork costs several times what a scan costs.

The time limit counts processor time, so that a good file is not refused because the machine has other work. A second limit counts
the time that passes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from struct import Struct
from threading import Event, Timer
from typing import IO, Any

import numpy as np
from PIL import Image

from bcdseg import errors
from bcdseg.data.images import FORMATS
from bcdseg.data.readers import read_scan
from bcdseg.dicom.deidentify import SHARED, read_reference, reference_from, reference_values
from bcdseg.dicom.guard import pydicom
from bcdseg.dicom.reader import open_dicom
from bcdseg.dicom.scan import DicomFrame, read_frame
from bcdseg.errors import BcdsegError, ImageError, OptionError, TooLargeError
from bcdseg.sources import is_dicom, unexpected_error
from bcdseg.types import Area, Flag, ScanImage

LENGTHS = Struct("<QQ")  # lengths of the JSON and of the bytes after it
MEGA = 1_000_000
START_SECONDS = 120.0
LEAST_MEMORY, PIXEL_MEMORY = 2 * 2**30, 80  # bytes for the process itself, and per pixel of the largest scan
FORKS = sys.platform.startswith("linux")  # libraries of macOS may not be forked
TIMERS = hasattr(signal, "setitimer")  # not on Windows, where the time limit is the time that passes
GRACE = 1  # seconds after all limits at which a process is ended that did not notice them
LOW_PRIORITY = 5  # of uploads that take long, as a nice value
SLOW, EXPIRED = -getattr(signal, "SIGPROF", 27), -getattr(signal, "SIGALRM", 14)  # statuses after the timers of ``_limit_time``
START = "import sys; sys.path[:] = {path!r}; from bcdseg.data.reader_process import main; main({memory})"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Options for reading an upload.

    Attributes:
        name: Name of the source in errors and predictions.
        frame: Frame of a DICOM clip, counted from 1.
        most_pixels: Largest number of pixels, as declared in the header, that is decoded.
        reference: Whether to read the reference that DICOM output needs.
        unmarked_dicom: Whether the file is DICOM without the mark ``DICM``, as old ones are.
    """

    name: str
    frame: int | None = None
    most_pixels: int
    reference: bool = False
    unmarked_dicom: bool = False


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The scan of an upload, and its reference for DICOM output (None unless it was requested)."""

    scan: ScanImage
    reference: Any = None


class SlowFileError(ImageError):
    """Error for an upload whose reading takes too much processor time."""


class BusyError(ImageError):
    """Error for an upload that was not read in time, because the machine is busy."""


class NamedBytes(io.BytesIO):
    """The bytes of a file, with the name that error messages use for it."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def read_upload(content: bytes, wanted: Wanted) -> Upload:
    """Read a scan from the bytes of a file, after a check of its declared size.

    Raises:
        TooLargeError: The file declares more pixels than are allowed.
        OptionError: The file does not have the frame, or a reference is requested for a file that is not DICOM.
        ImageError: The file can't be read.
    """
    file = NamedBytes(content, wanted.name)
    if wanted.unmarked_dicom or is_dicom(file):
        scan = _read_dicom(file, wanted)
    else:
        if wanted.frame not in (None, 1):
            raise OptionError(f"frame={wanted.frame}: only DICOM clips have more frames than one.")
        _check_pixels(_declared_size(file), wanted)
        scan = read_scan(file)
    return Upload(scan=scan, reference=read_reference(file, identity=SHARED) if wanted.reference else None)


def _read_dicom(file: NamedBytes, wanted: Wanted) -> ScanImage:
    image = open_dicom(file, wanted.name)
    _check_pixels(image.size, wanted)
    frame, count = wanted.frame, len(image.frames)
    if frame is None and count > 1:
        raise OptionError(f"{wanted.name}: is a clip of {count} frames. Choose one of them: frame=1 to frame={count}.")
    if frame is not None and not 1 <= frame <= count:
        raise OptionError(f"frame={frame}: the file has frames 1 to {count}.")
    chosen = DicomFrame(image, frame or 1)
    return read_frame(chosen, chosen.name if count > 1 else wanted.name, keep_identifiers=False)


def _declared_size(file: NamedBytes) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                return image.height, image.width
    except Exception:  # reading the scan reports the error
        return 0, 0
    finally:
        file.seek(0)


def _check_pixels(size: tuple[int, int], wanted: Wanted) -> None:
    if size[0] * size[1] > wanted.most_pixels:
        raise TooLargeError(
            f"{wanted.name}: is {size[0]}x{size[1]} pixels; the most that is taken here is {wanted.most_pixels / MEGA:g} million. "
            "Crop it or make it smaller first."
        )


class ReaderProcess:
    """A process that reads uploads one after another, for use by a single thread.

    Args:
        seconds: Limit of the processor time for an upload.
        most_pixels: Number of pixels of the largest scan, which sets the memory limit of the process.
        passing: Limit of the time that passes until an upload is read.
    """

    def __init__(self, seconds: float, most_pixels: int, *, passing: float) -> None:
        self._seconds, self._passing, self._memory = seconds, passing, LEAST_MEMORY + PIXEL_MEMORY * most_pixels
        self._process: subprocess.Popen[bytes] | None = None
        self._status = 0

    @property
    def running(self) -> bool:
        """True while the process is running."""
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        """The process id, or None when the process is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the process unless it is running, and wait until it can read.

        Raises:
            RuntimeError: The process does not start.
        """
        if self.running:
            return
        self.stop()
        command = [sys.executable, "-c", START.format(path=sys.path, memory=self._memory)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # a fork has no threads, and decoders need none of numpy's
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=FORKS
        )
        if self._exchange(None, START_SECONDS) is None:
            raise RuntimeError("the process that reads uploads does not start")

    def read(self, content: bytes, wanted: Wanted, *, seconds: float | None = None, is_urgent: bool = True) -> Upload:
        """Read an upload in the process; the errors of ``read_upload`` are raised here.

        Args:
            content: Bytes of the file.
            wanted: Options for reading it.
            seconds: A smaller limit of the processor time than that of the process.
            is_urgent: Whether it is read with the priority of the server, and not with a lower one in a fork.

        Raises:
            SlowFileError: Reading takes too much processor time.
            BusyError: Reading does not end in time, because the process got too little processor time.
            ImageError: Reading ends the process.
        """
        self.start()
        limit = self._seconds if seconds is None else min(seconds, self._seconds)
        passing = self._passing if TIMERS else min(limit, self._passing)
        facts = {"seconds": limit, "passing": passing, "forks": FORKS and not is_urgent, "wanted": asdict(wanted)}
        reply = self._exchange((facts, content), passing + GRACE)
        status = self._status if reply is None else reply[0].get("status", 0)
        if status == SLOW:
            raise SlowFileError(
                f"{wanted.name}: reading it took longer than {limit:g} s, the most that is allowed here. "
                "Send it smaller, or in a simpler format, such as PNG or uncompressed DICOM."
            )
        if status == EXPIRED:
            raise BusyError(f"{wanted.name}: was not read within {passing:g} s, since the machine is busy. Try again later.")
        if reply is None:
            ended = f"ended the process that reads uploads ({status})"
            raise ImageError(f"{wanted.name}: reading it {ended}. It is damaged or too large: export it again.")
        return _as_upload(*reply)

    def stop(self) -> None:
        """End the process immediately; any thread may call this."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _exchange(self, request: tuple[dict[str, Any], bytes] | None, seconds: float) -> tuple[dict[str, Any], bytearray] | None:
        """Send a request and return the reply, or None when the process ended before the reply came."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        expired = Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        timer = Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        reply = None
        try:
            if request is not None:
                send(process.stdin, *request)
            reply = receive(process.stdout)
        except (OSError, ValueError):  # the pipe broke or was closed
            pass
        timer.cancel()
        timer.join()
        if reply is None or expired.is_set():
            status = process.wait()
            self._status = status if not expired.is_set() else EXPIRED if TIMERS else SLOW
            self.stop()
            return None
        return reply


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with its forks."""
    if FORKS:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def send(pipe: IO[bytes], facts: dict[str, Any], content: Any = b"") -> None:
    """Write a message that consists of metadata as JSON and of bytes."""
    head = json.dumps(facts).encode()
    pipe.write(LENGTHS.pack(len(head), len(content)))
    pipe.write(head)
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytearray] | None:
    """Read a message, or return None at the end of the pipe."""
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head, content = map(bytearray, LENGTHS.unpack(lengths))
    for part in (head, content):
        if pipe.readinto(part) != len(part):  # type: ignore[attr-defined]
            return None
    return json.loads(head), content


def main(memory: int) -> None:
    """Read uploads from standard input until it ends, and write scans to standard output.

    Args:
        memory: Memory limit of this process in bytes.
    """
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    for stream in (1, 2):  # decoders print messages that may quote the file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server, which finishes its requests
    _limit_memory(memory)
    with contextlib.suppress(errors.MissingExtraError):
        pydicom("pydicom.pixels")
    send(replies, {"ready": True})
    while (request := receive(requests)) is not None:
        facts, content = request
        child = os.fork() if facts["forks"] else 0
        if child == 0:
            _limit_time(facts["seconds"], facts["passing"])
            if facts["forks"]:
                os.nice(LOW_PRIORITY)
            reply = _reply(bytes(content), Wanted(**facts["wanted"]))
            _limit_time(0, 0)
            send(replies, *reply)
            if facts["forks"]:
                os._exit(0)
            continue
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status in (SLOW, EXPIRED):
            send(replies, {"status": status})
        elif status:
            _end_like(status)  # the reply may be incomplete


def _end_like(status: int) -> None:
    """End this process with a status, which is negative for a signal."""
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(abs(status))


def _reply(content: bytes, wanted: Wanted) -> tuple[dict[str, Any], Any]:
    try:
        upload = read_upload(content, wanted)
        pixels = np.ascontiguousarray(upload.scan.pixels)
        facts = {
            "shape": pixels.shape,
            "dtype": pixels.dtype.name,
            "source": upload.scan.source,
            "frame": upload.scan.frame,
            "areas": [asdict(area) for area in upload.scan.areas],
            "warnings": upload.scan.warnings,
            "reference": None if upload.reference is None else reference_values(upload.reference),
        }
        return facts, pixels.data.cast("B")
    except BcdsegError as error:
        return {"error": type(error).__name__, "message": str(error)}, b""
    except BaseException as error:
        return {"error": ImageError.__name__, "message": str(unexpected_error(wanted.name, "can't be read", error))}, b""


def _as_upload(facts: dict[str, Any], content: bytearray) -> Upload:
    if "error" in facts:
        kind = getattr(errors, facts["error"])
        raise kind(facts["message"])
    scan = ScanImage(
        source=facts["source"],
        pixels=np.frombuffer(content, facts["dtype"]).reshape(facts["shape"]),
        areas=tuple(_area(**area) for area in facts["areas"]),
        frame=facts["frame"],
        warnings=tuple(Flag(*warning) for warning in facts["warnings"]),
    )
    return Upload(scan=scan, reference=None if facts["reference"] is None else reference_from(facts["reference"]))


def _area(*, box: list[int], spacing: list[float] | None, **others: Any) -> Area:
    top, left, bottom, right = box
    return Area(box=(top, left, bottom, right), spacing=(spacing[0], spacing[1]) if spacing else None, **others)


def _limit_memory(most: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit, and a lower one may be set already
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_time(seconds: float, passing: float) -> None:
    """Let the system end this process after a processor time, and after a time that passes; 0 removes the limits."""
    if TIMERS:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, passing)
