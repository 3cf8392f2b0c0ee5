"""The library's errors, whose messages name the object, what is wrong with it and what to do.

Every class also derives from the builtin that a caller would expect, so ``except FileNotFoundError`` works as well as
``except bcdseg.errors.BcdsegError``.
"""

from __future__ import annotations

from collections.abc import Sequence


class BcdsegError(Exception):
    """Base class of all errors that the library raises on purpose."""


class InputError(BcdsegError, ValueError):
    """Error for input with invalid content."""


class ImageError(InputError):
    """Error for an unusable image: damaged, not an image, of an impossible size, or with values that are not intensities."""


class ImageTypeError(BcdsegError, TypeError):
    """Error for a type of image, or an array dtype, that has no meaning as a scan."""


class ImageNotFoundError(BcdsegError, FileNotFoundError):
    """Error for a path, folder or pattern that leads to no image."""


class OptionError(BcdsegError, ValueError):
    """Error for an option whose value is not one of its choices; the message lists them."""


class ModelNotFoundError(BcdsegError, FileNotFoundError):
    """Error for a name or a folder without a saved model."""


class ModelFileError(BcdsegError, ValueError):
    """Error for a saved model that is damaged, foreign, or made by a newer version of the library."""


class WeightsUnavailableError(BcdsegError, ConnectionError):
    """Error for weights that can't be downloaded; the message states which file is missing and where to put it."""


class OutputExistsError(BcdsegError, FileExistsError):
    """Error for an output file that exists and may not be replaced."""


class OutputError(BcdsegError, OSError):
    """Error for a file or folder that can't be written."""


class NotFiniteError(BcdsegError, ArithmeticError):
    """Error for a network output that contains NaN or infinite values, and is therefore invalid."""


class MissingExtraError(BcdsegError, ImportError):
    """Error for an optional dependency that is not installed; the message names the extra."""


class DatasetError(InputError):
    """Error for a data set with files that are missing, unreadable or unpaired; ``problems`` lists all of them."""

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class LeakError(InputError):
    """Error for parts that must be disjoint and share a group or a scan."""


class LeakWarning(UserWarning):
    """Warning about a split that may put copies of one scan, or scans of one patient, on both sides."""


class DataWarning(UserWarning):
    """Warning about a part of a data set that is ignored or changed: a table, a column, a folder, or a spelling of a class."""


class DataUnavailableError(BcdsegError, ConnectionError):
    """Error for a public data set that can't be fetched; the message states what to download by hand and where to put it."""


class MemoryLimitError(BcdsegError, MemoryError):
    """Error for too little memory of the machine or its GPU; the message states which option to lower."""


class NotAScanError(ImageError):
    """Error for a DICOM file that contains a report, a segmentation or a plan, and no image."""


class RuntimeFallbackWarning(UserWarning):
    """Warning about a runtime that can't be used, or whose output differs from torch's, so that torch runs in its place."""


class MetricWarning(UserWarning):
    """Warning about a metric of the user that raised an exception on some of the scans, so that its value there is missing."""


class PluginWarning(UserWarning):
    """Warning about a plug-in that can't be imported, or registers a name that is taken, so that what it registers is missing."""


class ParityError(BcdsegError, ArithmeticError):
    """Error for an exported file whose output differs from the model's; the file is not written."""


class TooLargeError(ImageError):
    """Error for an image with more pixels than a server accepts."""


class LimitError(InputError):
    """Error for more input than is accepted: too large a file, too many scans at the same time."""


class GoneError(BcdsegError, LookupError):
    """Error for a requested object that is not stored any more."""


class PacsError(BcdsegError, ConnectionError):
    """Error for a PACS that can't be reached, that refuses the user, or whose response is not DICOMweb."""


class PacsObjectError(PacsError):
    """Error for one object that a PACS does not deliver or does not store; others are not affected."""


class ClusterError(BcdsegError, ConnectionError):
    """Error for Ray when it can't be started or reached, or its workers can't start."""
