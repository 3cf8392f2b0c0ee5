"""The DICOM report that lists all results of a study, as the root of their tree (TID 1500)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bcdseg.dicom.algorithm import Algorithm, file_content
from bcdseg.dicom.deidentify import new_uid
from bcdseg.dicom.guard import UNFIT, guarded, pydicom
from bcdseg.dicom.report import procedure_of

SEGMENTATION, REPORT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"  # SOP classes


@dataclass(frozen=True, kw_only=True)
class StudyObject:
    """The SOP class and the UIDs by which DICOM objects refer to an object of a study."""

    sop_class: str
    series: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class ImageResults:
    """An image or clip, and its results: a segmentation, a report, or both."""

    image: StudyObject
    results: Sequence[StudyObject]


def encode_result_root(
    root: StudyObject, images: Sequence[ImageResults], header: Any, *, algorithm: Algorithm, earlier: Sequence[StudyObject] = ()
) -> bytes:
    """Encode the report that lists the results of a study, as the bytes of a DICOM file.

    It has one measurement group (TID 1501) per image: the image, its report and its segmentation. It repeats no measurement.

    Args:
        root: The report itself.
        images: Images of the study and their results.
        header: Data set with the elements of patient and study, and with the modality of the images.
        algorithm: Algorithm that made the results.
        earlier: Earlier reports of this kind, which this one replaces.
    """
    with guarded(f"study {header.StudyInstanceUID}", UNFIT):
        sr, codes = pydicom("highdicom.sr"), pydicom("pydicom.sr.codedict").codes
        report = sr.MeasurementReport(
            observation_context=algorithm.observation_context(),
            procedure_reported=procedure_of(header.Modality),
            imaging_measurements=[_group(number, one, algorithm) for number, one in enumerate(images, 1)],
            title=codes.DCM.ImagingMeasurementReport,
        )
        document = sr.Comprehensive3DSR(
            evidence=_evidence([one for found in images for one in (found.image, *found.results)], header),
            content=report[0],
            series_instance_uid=root.series,
            series_number=9003,
            sop_instance_uid=root.uid,
            instance_number=len(earlier) + 1,
            is_complete=True,
            previous_versions=_evidence(earlier, header) if earlier else None,
            series_description=f"All results by {algorithm.name}"[:64],
            **algorithm.equipment,
        )
        return file_content(document)


def _group(number: int, found: ImageResults, algorithm: Algorithm) -> Any:
    """Return the group of an image; results are content items beyond the template's rows, which is extensible."""
    sr, codes = pydicom("highdicom.sr"), pydicom("pydicom.sr.codedict").codes
    uid = new_uid(f"results for {found.image.uid} by {algorithm.device_uid}")
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=uid, identifier=f"image {number}"),
        algorithm_id=algorithm.identification(),
        finding_sites=[sr.FindingSite(codes.SCT.Breast)],
        source_images=[sr.SourceImageForMeasurementGroup(found.image.sop_class, found.image.uid)],
    )
    for one in found.results:
        kind, purpose = (
            (sr.ImageContentItem, codes.DCM.ReferencedSegment)
            if one.sop_class == SEGMENTATION
            else (sr.CompositeContentItem, codes.DCM.CurrentProcedureEvidence)
        )
        group[0].ContentSequence.append(kind(purpose, one.sop_class, one.uid, relationship_type="CONTAINS"))
    return group


def _evidence(objects: Sequence[StudyObject], header: Any) -> list[Any]:
    """Return the objects as highdicom's documents refer to them; the first has the elements of the patient too."""
    found = [pydicom("pydicom.dataset").Dataset() for _ in objects]
    found[0] = copy.deepcopy(header)
    for made, one in zip(found, objects, strict=True):
        made.StudyInstanceUID, made.SeriesInstanceUID = header.StudyInstanceUID, one.series
        made.SOPClassUID, made.SOPInstanceUID = one.sop_class, one.uid
    return found
