"""Hostile and damaged files come to one clear error, and nothing of a patient's reaches a message or a log."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from bcdseg.errors import BcdsegError, ImageError
from bcdseg.extras import require

PURPOSE = "Reading and writing DICOM"


def pydicom(module: str = "pydicom") -> Any:
    """A module of pydicom or highdicom, or the error that names the extra."""
    return require(module, extra="dicom", purpose=PURPOSE)


class _Quiet:
    """pydicom's warnings and log lines quote the values they stumble over; they are held back while anyone reads.

    Python's filters are one list for all threads, so the first who comes sets it and the last who leaves puts it back.
    """

    def __init__(self) -> None:
        self.lock, self.readers = Lock(), 0
        self.kept: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.readers:
                self.kept = warnings.catch_warnings()
                self.kept.__enter__()
                warnings.simplefilter("ignore")
                for name in ("pydicom", "highdicom"):
                    logging.getLogger(name).addFilter(_nothing)
            self.readers += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.readers -= 1
            if not self.readers and self.kept is not None:
                self.kept.__exit__(None, None, None)
                for name in ("pydicom", "highdicom"):
                    logging.getLogger(name).removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


QUIET = _Quiet()


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Turn whatever parsers and decoders raise into an error of ours, without their words: these quote the file's values."""
    try:
        with QUIET:
            yield
    except BcdsegError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: the file is gone. It was there a moment ago: check the disk.") from None
    except Exception as error:
        kind = type(error).__name__
        raise ImageError(f"{name}: the DICOM file is truncated or damaged ({kind}). Copy or export it again.") from None
