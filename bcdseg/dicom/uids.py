"""UIDs of written DICOM objects: new ones, or ones that follow from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bcdseg.dicom.deidentify import new_uid
from bcdseg.dicom.guard import pydicom


@dataclass(frozen=True)
class ObjectUids:
    """UIDs of an object and its parts.

    Attributes:
        seed: Text from which all UIDs follow, so that an object that is made again has the same ones; None for new UIDs.
    """

    seed: str | None = None

    def __call__(self, part: str) -> Any:
        """Return the UID of a part: ``"instance"``, ``"series"``, or the name of something that the object contains."""
        make = pydicom("highdicom").UID
        return make() if self.seed is None else make(new_uid(f"{self.seed}, {part}"))


RANDOM = ObjectUids()
