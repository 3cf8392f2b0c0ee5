"""Patient identity of a written DICOM object: that of its source for a PACS, or de-identified for sharing.

The rule of de-identification: name and ID of the patient become one generated pseudonym; birth date, sex, accession number, study
ID, dates, times and the referring physician become empty; every UID becomes its ``new_uid``. So files that are made of the same
study belong together, and match a source whose UIDs were replaced by the same function. The function is a hash without a secret:
whoever has the original UIDs can find out that they match.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.dicom.header_limits import AT_PIXELS, convert_header, plain, read_header
from bcdseg.errors import ImageError, OptionError
from bcdseg.messages import warn_caller
from bcdseg.sources import is_dataset, is_dicom, open_regular, source_name

PACS, SHARED = "pacs", "shared"
IDENTITIES = (PACS, SHARED)
DEPRECATED = "keep_identifiers is deprecated: use identity='pacs' in place of True, and identity='shared' in place of False."

UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
EMPTIED = ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName")
KEPT = ("IssuerOfPatientID", "StudyDescription")  # written for a PACS only
NAMED = ("PatientName", "PatientID")
FACTS = ("SOPClassUID", "Modality", "Rows", "Columns")
UNICODE = "ISO_IR 192"  # highdicom refuses character sets of the standard, such as those of Japan and Korea
METHOD = "bcdseg: names, numbers and dates left out, UIDs hashed"


def choose_identity(identity: str | None, keep_identifiers: bool | None, default: str = SHARED) -> str:
    """Return the identity of an output, from the option or from the deprecated one that it replaces.

    Args:
        identity: ``"pacs"``, ``"shared"``, or None for the default.
        keep_identifiers: Deprecated option of the same meaning; None unless it is given.
        default: Identity where none is given.

    Raises:
        OptionError: The identity is unknown, or both options are given.
    """
    if keep_identifiers is not None:
        if identity is not None:
            raise OptionError(f"identity={identity!r} and keep_identifiers={keep_identifiers}: give identity alone.")
        warn_caller(DEPRECATED, DeprecationWarning)
        return PACS if keep_identifiers else SHARED
    if identity is not None and identity not in IDENTITIES:
        raise OptionError(
            f"identity={identity!r} is unknown: choose 'pacs' (patient, study and UIDs of the source) or 'shared' (de-identified)."
        )
    return identity or default


def new_uid(uid: str) -> str:
    """Return the UID that replaces another one in de-identified files; it is always the same."""
    return f"2.25.{int.from_bytes(blake2b(f'bcdseg {uid}'.encode(), digest_size=16).digest(), 'big')}"


def read_reference(source: Any, *, identity: str, last_frame: int = 1) -> Any:
    """Return the elements of a source that DICOM output refers to, as a pydicom ``Dataset``.

    Args:
        source: A path, the bytes of a file, an open file or a pydicom ``Dataset``.
        identity: ``"pacs"`` for the source's own patient, study and UIDs, ``"shared"`` for de-identified ones.
        last_frame: Number of the last frame to which the output refers.

    Raises:
        OptionError: The source is not DICOM, or has fewer frames than the output refers to.
        ImageError: The source lacks elements to which the output refers.
    """
    if not is_dicom(source):
        shown = source_name(source)
        raise OptionError(
            f"{shown}: is not a DICOM file, so no DICOM output can refer to it. Give the DICOM file itself (in Python, source=)."
        )
    name = source_name(source)
    with guarded(name):
        header = _header(source)
        if not all(header.get(keyword) for keyword in (*UIDS, *FACTS)):
            raise ImageError(f"{name}: lacks UIDs, size or class, so that no DICOM output can refer to it. Export it again.")
        frames = int(header.get("NumberOfFrames") or 1)
        if frames < last_frame:
            raise OptionError(
                f"{name}: has {frames} frame{'s' * (frames > 1)} and predictions are up to frame {last_frame}: give their own file."
            )
        reference = pydicom("pydicom.dataset").Dataset()
        for keyword in (*FACTS, *UIDS):
            setattr(reference, keyword, header[keyword].value)
        for keyword in (*EMPTIED, *NAMED):
            setattr(reference, keyword, header[keyword].value if identity == PACS and keyword in header else "")
        for keyword in KEPT:
            if identity == PACS and header.get(keyword):
                setattr(reference, keyword, header[keyword].value)
        if not all(str(element.value).isascii() for element in reference):
            reference.SpecificCharacterSet = UNICODE
        return reference if identity == PACS else _without_identity(reference)


def reference_values(reference: Any) -> dict[str, str | int]:
    """Return the elements of a reference by keyword, as values that JSON supports."""
    values = {element.keyword: element.value for element in reference}
    return {keyword: value if isinstance(value, int) else str(value or "") for keyword, value in values.items()}


def reference_from(values: Mapping[str, str | int]) -> Any:
    """Return the reference with these elements; see ``reference_values``."""
    reference = pydicom("pydicom.dataset").Dataset()
    for keyword, value in values.items():
        setattr(reference, keyword, value)
    return reference


def _without_identity(reference: Any) -> Any:
    for keyword in UIDS:
        setattr(reference, keyword, new_uid(str(reference[keyword].value)))
    stand_in = reference.StudyInstanceUID[-12:]
    reference.PatientName, reference.PatientID = f"Anonymous^{stand_in}", f"anonymous-{stand_in}"
    reference.PatientIdentityRemoved, reference.DeidentificationMethod = "YES", METHOD
    return reference


def _header(source: Any) -> Any:
    if is_dataset(source):
        return source
    wanted = [*UIDS, *FACTS, "NumberOfFrames", *EMPTIED, *NAMED, *KEPT]
    name = source_name(source)
    if hasattr(source, "read"):
        place = source.tell()
        source, file = source.read(), source
        file.seek(place)
    is_path = isinstance(source, (str, os.PathLike))
    with open_regular(Path(source), name) if is_path else io.BytesIO(source) as stored, plain(stored, name) as limited:
        header = read_header(limited, wanted, lambda tag, _, __: tag >= AT_PIXELS)
        convert_header(header, limited.budget, only={})
        return header


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
