"""A DICOMweb server: ultrasound of a study by QIDO-RS and WADO-RS, results by STOW-RS."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bcdseg.dicom.guard import pydicom
from bcdseg.errors import OptionError, PacsObjectError
from bcdseg.pacs.connection import connect, translated_errors

PAGE = 500  # instances per query
ULTRASOUND = {
    "1.2.840.10008.5.1.4.1.1.6.1",  # image
    "1.2.840.10008.5.1.4.1.1.3.1",  # clip
    "1.2.840.10008.5.1.4.1.1.6",  # image, retired
    "1.2.840.10008.5.1.4.1.1.3",  # clip, retired
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SECONDARY_CAPTURES = {SECONDARY_CAPTURE, *(f"{SECONDARY_CAPTURE}.{kind}" for kind in range(1, 5))}  # images, and clips
KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality")


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One object of a study, as the server lists it."""

    study: str
    series: str
    uid: str
    sop_class: str
    modality: str

    @property
    def is_ultrasound(self) -> bool:
        """Whether this is an ultrasound image or clip; some machines store them as secondary captures."""
        return self.sop_class in ULTRASOUND or (self.modality == "US" and self.sop_class in SECONDARY_CAPTURES)


@dataclass(frozen=True)
class DicomWebServer:
    """A PACS that is reached by DICOMweb (QIDO-RS, WADO-RS and STOW-RS).

    The certificate of an ``https`` server is always verified. Nothing is sent before the first request of a method.

    Attributes:
        url: Address of the service, such as ``https://pacs.example.org/dicom-web``.
        user: Name of the user, for HTTP basic authentication.
        password: Password of the user.
        token: Bearer token, in place of user and password.
        ca_file: PEM file of the certificate authorities to trust, in place of the system's.
        timeout: Seconds to wait for a response.
        attempts: Number of times that a request is sent when the connection fails or the server is busy.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: str | Path | None = None
    timeout: float = 60.0
    attempts: int = 3

    def __post_init__(self) -> None:
        """Check the options."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise OptionError(
                f"url={self.url!r}: give the address of a DICOMweb service, such as https://pacs.example.org/dicom-web."
            )
        if parts.username is not None:
            raise OptionError("url contains a user or a password, which would be shown in messages: give user= and password=.")
        if (self.user is None) != (self.password is None):
            raise OptionError("user and password belong together: give both, or neither.")
        if self.token is not None and self.user is not None:
            raise OptionError("A token takes the place of user and password: give one of them.")
        if self.ca_file is not None and parts.scheme == "http":
            raise OptionError(
                f"ca_file={str(self.ca_file)!r}: {self.url} is not encrypted and has no certificate. Give an https:// address."
            )
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise OptionError(
                f"ca_file={str(self.ca_file)!r}: there is no such file. Give the PEM file of a certificate authority."
            )
        if self.attempts < 1 or self.timeout <= 0:
            raise OptionError(f"attempts={self.attempts}, timeout={self.timeout}: choose 1 attempt or more, and a time above 0.")

    @property
    def is_private(self) -> bool:
        """Whether the connection is encrypted, or stays on this machine."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in ("127.0.0.1", "::1", "localhost")

    def search(self, query: Mapping[str, str]) -> list[str]:
        """Return the UIDs of the studies that match a query with ultrasound in them (QIDO-RS).

        Args:
            query: Values by DICOM keyword, such as ``{"PatientID": "4711", "StudyDate": "20240101-20240131"}``.

        Raises:
            OptionError: A key is not a DICOM keyword, or the query is empty.
            PacsError: The server can't be reached, refuses the user, or is not a DICOMweb server.
        """
        known = pydicom("pydicom.datadict").tag_for_keyword
        if not query or not all(query.values()):
            raise OptionError("query: give at least one value to search for, such as PatientID=4711.")
        for keyword in query:
            if known(keyword) is None:
                raise OptionError(f"query: {keyword!r} is not a DICOM keyword. Keywords are written as in PatientID or StudyDate.")
        filters = {"ModalitiesInStudy": "US", **query}
        found = self._pages(lambda **page: self._client.search_for_studies(search_filters=filters, **page), "StudyInstanceUID")
        return [study["StudyInstanceUID"] for study in found]

    def instances(self, study: str) -> list[Instance]:
        """Return the objects of a study, none if the server doesn't have it (QIDO-RS).

        Raises:
            PacsError: The server can't be reached, refuses the user, or is not a DICOMweb server.
        """
        found = self._pages(lambda **page: self._client.search_for_instances(check_uid(study), **page), "SOPInstanceUID")
        return [
            Instance(
                study=study,
                series=one["SeriesInstanceUID"],
                uid=one["SOPInstanceUID"],
                sop_class=one["SOPClassUID"],
                modality=one["Modality"],
            )
            for one in found
        ]

    def retrieve(self, instance: Instance) -> Any:
        """Return an object as a pydicom ``Dataset``, in the encoding in which it is stored (WADO-RS).

        Raises:
            PacsObjectError: The server doesn't deliver this object.
            PacsError: The server can't be reached, or refuses the user.
        """
        with translated_errors(self.url, f"retrieving {instance.uid}", single=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some servers send the bare file, which is accepted too
            found = self._client.retrieve_instance(instance.study, instance.series, instance.uid)
            if found.get("SOPInstanceUID") != instance.uid or found.get("StudyInstanceUID") != instance.study:
                raise PacsObjectError(f"{self.url}: sent another object than {instance.uid}. Report it to who runs the server.")
        found.filename = instance.uid  # the name of the source in predictions and errors
        return found

    def store(self, study: str, objects: Sequence[bytes]) -> None:
        """Store the files of objects of a study (STOW-RS).

        Raises:
            PacsObjectError: The server doesn't store one of them.
            PacsError: The server can't be reached, or refuses the user.
        """
        read = pydicom().dcmread
        with translated_errors(self.url, f"storing results in study {study}", single=True):
            response = self._client.store_instances([read(io.BytesIO(content)) for content in objects], study)
            failed = response.get("FailedSOPSequence") or ()
        if failed:
            reasons = ", ".join(f"0x{int(one.get('FailureReason') or 0):04X}" for one in failed)
            raise PacsObjectError(f"{self.url}: does not store {len(failed)} of {len(objects)} results (DICOM status {reasons}).")

    @cached_property
    def _client(self) -> Any:
        return connect(self)

    def _pages(self, ask: Any, key: str) -> Iterator[dict[str, str]]:
        """Yield each result of a search once, page by page; some servers ignore where a page is to begin."""
        seen: set[str] = set()
        while True:
            with translated_errors(self.url, "searching"):
                page = [_values(one) for one in ask(offset=len(seen), limit=PAGE)]
            new = [one for one in page if one[key] and one[key] not in seen]
            if not new:
                return
            seen.update(one[key] for one in new)
            yield from new


def check_uid(uid: str) -> str:
    """Return a UID, or raise an error if it is malformed."""
    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        raise OptionError(f"{uid!r} is not a DICOM UID: UIDs are numbers with dots, such as 1.2.840.113619.2.1.")
    return uid


def _values(result: Any) -> dict[str, str]:
    """Return the first value of each needed element of a search result; empty where it is missing."""
    tag = pydicom("pydicom.datadict").tag_for_keyword
    elements = {keyword: result.get(f"{tag(keyword):08X}") or {} for keyword in KEYWORDS}
    return {keyword: str((element.get("Value") or [""])[0]) for keyword, element in elements.items()}
