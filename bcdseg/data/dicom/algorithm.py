"""What made a segmentation or a report, as both say it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from bcdseg import __version__

MAKER = "bcdseg"


@dataclass(frozen=True)
class Algorithm:
    """The model's name, under the library's own name and version."""

    model: str

    @property
    def name(self) -> str:
        """Library and model, at most 64 characters as DICOM has it."""
        return f"{MAKER} {self.model}"[:64]

    @property
    def version(self) -> str:
        """The library's version."""
        return __version__

    @property
    def equipment(self) -> dict[str, str]:
        """The equipment module's elements."""
        return {
            "manufacturer": MAKER,
            "manufacturer_model_name": self.name,
            "software_versions": self.version,
            "device_serial_number": "none",
        }


def file_content(dataset: Any) -> bytes:
    """The bytes of a data set's file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
