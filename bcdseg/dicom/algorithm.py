"""The model as DICOM output identifies it: as algorithm, as equipment and as observer."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from bcdseg import __version__
from bcdseg.dicom.deidentify import new_uid
from bcdseg.dicom.guard import pydicom

MAKER = "bcdseg"


@dataclass(frozen=True)
class Algorithm:
    """The model as DICOM output names it, under the library's own name and version.

    Attributes:
        model: Name of the model.
        weights: Hash of the weights; empty where only the name is known.
    """

    model: str
    weights: str = ""

    @property
    def name(self) -> str:
        """Name of the library and the model, with at most 64 characters as DICOM requires."""
        return f"{MAKER} {self.model}"[:64]

    @property
    def version(self) -> str:
        """Version of the library."""
        return __version__

    @property
    def device_uid(self) -> str:
        """UID of the model, another one after each training where the weights are known."""
        return new_uid(f"{self.name} {self.version} {self.weights}")

    @property
    def equipment(self) -> dict[str, Any]:
        """Elements of the equipment module, and the item that states that the model contributed."""
        return {
            "manufacturer": MAKER,
            "manufacturer_model_name": self.name,
            "software_versions": self.version,
            "device_serial_number": "none",
            "contributing_equipment": [self._contribution()],
        }

    def _contribution(self) -> Any:
        item = pydicom("highdicom").ContributingEquipment(
            manufacturer=MAKER,
            purpose_of_reference=pydicom("pydicom.sr.codedict").codes.DCM.ProcessingEquipment,
            manufacturer_model_name=self.name,
            software_versions=self.version,
            contribution_description="Algorithm that made the results",
        )
        item.DeviceUID = self.device_uid
        return item

    def identification(self) -> Any:
        """Return the identification of the algorithm in a report (TID 4019)."""
        return pydicom("highdicom.sr").AlgorithmIdentification(name=self.name, version=self.version)

    def observation_context(self) -> Any:
        """Return the observation context of a report (TID 1001), whose observer is this device."""
        sr, codes = pydicom("highdicom.sr"), pydicom("pydicom.sr.codedict").codes
        device = sr.DeviceObserverIdentifyingAttributes(
            uid=self.device_uid, name=MAKER, manufacturer_name=MAKER, model_name=self.name
        )
        context = sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
        return sr.ObservationContext(observer_device_context=context)


def file_content(dataset: Any) -> bytes:
    """Return the bytes of the file of a data set."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
