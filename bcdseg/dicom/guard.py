"""Error handling for damaged and malicious DICOM files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from bcdseg.errors import BcdsegError, ImageError
from bcdseg.extras import require
from bcdseg.sources import EXITS

TALKERS = ("pydicom", "highdicom")
DAMAGED = "the DICOM file is truncated or damaged ({}). Copy or export it again."
UNFIT = "values of its header can't be copied into another DICOM file ({}). Write it with identity='shared', or correct the header."
PURPOSE = "Reading and writing DICOM"


def pydicom(module: str = "pydicom") -> Any:
    """Import a module of pydicom or highdicom, or raise the error that names the extra."""
    return require(module, extra="dicom", purpose=PURPOSE)


class _Quiet:
    """A context manager that suppresses pydicom's warnings and log lines, which quote the values of the file.

    All threads share Python's warning filters, so the first reader that enters sets them and the last one that exits restores them.
    """

    def __init__(self) -> None:
        self.lock, self.readers = Lock(), 0
        self.levels: dict[str, int] = {}
        self.kept: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.readers:
                self.kept = warnings.catch_warnings()
                self.kept.__enter__()
                warnings.simplefilter("ignore")
                self.levels = {name: logging.getLogger(name).level for name in TALKERS}
                for name in TALKERS:
                    logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            self.readers += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.readers -= 1
            if not self.readers and self.kept is not None:
                self.kept.__exit__(None, None, None)
                for name, level in self.levels.items():
                    logging.getLogger(name).setLevel(level)


QUIET = _Quiet()


@contextmanager
def guarded(name: str, problem: str = DAMAGED) -> Iterator[None]:
    """Convert all errors of parsers and decoders to an ``ImageError``, without their messages, which quote the file's values.

    Decoders written in Rust panic on damaged files, which raises a class that is not an ``Exception``.
    """
    try:
        with QUIET:
            yield
    except (BcdsegError, *EXITS):
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: the file is gone. It was there a moment ago: check the disk.") from None
    except BaseException as error:
        raise ImageError(f"{name}: {problem.format(type(error).__name__)}") from None
