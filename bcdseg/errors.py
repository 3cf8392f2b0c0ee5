"""One family of errors. Each names the thing, says what was wrong with it and what to do.

Every class is also the builtin a caller would expect, so ``except FileNotFoundError`` works as well as
``except bcdseg.errors.BcdsegError``.
"""

from __future__ import annotations

from collections.abc import Sequence


class BcdsegError(Exception):
    """Base of everything the library raises on purpose."""


class InputError(BcdsegError, ValueError):
    """Something handed in has the wrong content."""


class ImageError(InputError):
    """An image cannot be used: damaged, not an image, of an impossible size, or with values that are no intensities."""


class ImageTypeError(BcdsegError, TypeError):
    """An image is of a type, or an array of a dtype, that has no meaning as a scan."""


class ImageNotFoundError(BcdsegError, FileNotFoundError):
    """A path, folder or pattern leads to no image."""


class OptionError(BcdsegError, ValueError):
    """An option has a value outside of its choices; the message lists them."""


class ModelNotFoundError(BcdsegError, FileNotFoundError):
    """No saved model has that name or lies in that folder."""


class ModelFileError(BcdsegError, ValueError):
    """A saved model is damaged, foreign, or made by a newer version of the library."""


class WeightsUnavailableError(BcdsegError, ConnectionError):
    """Weights had to be downloaded and could not be; the message says which file is missing and where to put it."""


class OutputExistsError(BcdsegError, FileExistsError):
    """Writing would replace a file and nobody asked for that."""


class OutputError(BcdsegError, OSError):
    """A file or folder can't be written."""


class NotFiniteError(BcdsegError, ArithmeticError):
    """A network's answer holds NaN or infinite values, and so is none."""


class MissingExtraError(BcdsegError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class DatasetError(InputError):
    """A data set has files that are missing, unreadable or unpaired; ``problems`` lists every one of them."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class LeakError(InputError):
    """Parts that must have nothing in common share a group or a scan."""


class LeakWarning(UserWarning):
    """A split was asked for that may put copies of one scan, or scans of one patient, on both sides."""


class DataUnavailableError(BcdsegError, ConnectionError):
    """A public data set could not be fetched; the message says what to download by hand and where to put it."""


class MemoryLimitError(BcdsegError, MemoryError):
    """The memory of the machine or of its GPU doesn't suffice; the message says which option to lower."""


class NotAScanError(ImageError):
    """A DICOM file holds no image but a report, a segmentation, a plan."""


class RuntimeFallbackWarning(UserWarning):
    """A runtime could not be used, or did not answer as torch does, and torch runs in its place."""


class ParityError(BcdsegError, ArithmeticError):
    """An exported file does not answer as the model does, and was not written."""


class TooLargeError(ImageError):
    """An image has more pixels than a server takes."""


class LimitError(InputError):
    """More was handed in than is taken at once: too large a file, too many scans."""


class GoneError(BcdsegError, LookupError):
    """What was asked for is not held any more."""


class ClusterError(BcdsegError, ConnectionError):
    """Ray can't be started or reached, or its workers can't start."""
