"""The DICOM reports that list all results of each study, at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bcdseg.batch.run_manifest import Journal
from bcdseg.dicom.algorithm import Algorithm
from bcdseg.dicom.deidentify import RANDOM, read_reference
from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.dicom.result_root import REPORT, ImageResults, StudyObject, encode_result_root
from bcdseg.errors import BcdsegError

UIDS = ["SOPClassUID", "SeriesInstanceUID", "SOPInstanceUID"]


class StudyRoots:
    """Writer of one report per study, ``study_UID_root.dcm``.

    Attributes:
        problems: Messages for files and studies without a report.
    """

    def __init__(self, folder: Path, journal: Journal, *, identity: str) -> None:
        self.journal, self.identity = journal, identity
        self.problems: list[str] = []
        journal.check_free(path.name for path in folder.glob("study_*_root.dcm"))

    def write(self, results: Iterable[tuple[str, Sequence[Path]]], *, model: str) -> None:
        """Write the reports, in place of those of a run that is resumed.

        Args:
            results: Scans, and the DICOM files of their results.
            model: Name of the model.
        """
        studies: dict[str, list[tuple[Any, ImageResults]]] = {}
        for file, paths in results:
            try:
                reference = read_reference(file, identity=self.identity)
                found = ImageResults(image=_object(reference), results=[_read(path) for path in paths])
                studies.setdefault(str(reference.StudyInstanceUID), []).append((reference, found))
            except BcdsegError as error:
                self.problems.append(str(error))
        for study, images in studies.items():
            try:
                root = StudyObject(sop_class=REPORT, series=str(RANDOM("series")), uid=str(RANDOM("instance")))
                content = encode_result_root(root, [found for _, found in images], images[0][0], algorithm=Algorithm(model))
                self.journal.write(f"study_{study}_root.dcm", content)
            except BcdsegError as error:
                self.problems.append(str(error))


def _read(path: Path) -> StudyObject:
    with guarded(str(path)):
        return _object(pydicom().dcmread(path, stop_before_pixels=True, specific_tags=UIDS))


def _object(dataset: Any) -> StudyObject:
    return StudyObject(sop_class=str(dataset.SOPClassUID), series=str(dataset.SeriesInstanceUID), uid=str(dataset.SOPInstanceUID))
