"""DICOM structured reports of measurements (TID 1500), in the forms that viewers draw.

OHIF 3.12 draws polylines but no oblique ellipse, and shows no report that has a measurement group without coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.dicom.algorithm import MAKER, Algorithm, file_content
from bcdseg.dicom.deidentify import RANDOM, ObjectUids, new_uid
from bcdseg.dicom.guard import UNFIT, guarded, pydicom
from bcdseg.types import Point

SCHEME = "99BCDSEG"
CANDIDATE = "Candidate, below the presence threshold"
# The descriptors of a mass: the scheme and the keyword of its name and of its values, of the named context groups. A value that
# they lack has a code of the library's own scheme.
DESCRIPTORS: Mapping[str, tuple[tuple[str, str], Mapping[str, tuple[str, str]]]] = {
    "shape": (  # CID 6005
        ("SCT", "Shape"),
        {"oval": ("SCT", "OvoidShapeOval"), "round": ("SCT", "RoundShape"), "irregular": ("SCT", "Irregular")},
    ),
    "orientation": (("DCM", "Orientation"), {"parallel": ("DCM", "Parallel"), "not parallel": ("DCM", "NotParallel")}),  # CID 6152
    "margin": (  # CID 6007
        ("DCM", "Margins"),
        {"circumscribed": ("SCT", "CircumscribedLesion"), "indistinct": ("SCT", "IndistinctLesion")},
    ),
    "echo_pattern": (  # CID 6154
        ("DCM", "EchoPattern"),
        {
            "anechoic": ("DCM", "Anechoic"),
            "hypoechoic": ("DCM", "Hypoechoic"),
            "isoechoic": ("DCM", "Isoechoic"),
            "hyperechoic": ("DCM", "Hyperechoic"),
            "complex cystic and solid": ("DCM", "Complex"),
        },
    ),
    "posterior": (  # CID 6155
        ("DCM", "PosteriorAcousticFeatures"),
        {
            "no posterior features": ("DCM", "NoPosteriorAcousticFeatures"),
            "enhancement": ("DCM", "PosteriorEnhancement"),
            "shadowing": ("DCM", "PosteriorShadowing"),
            "combined pattern": ("DCM", "CombinedPosteriorEnhancementAndShadowing"),
        },
    ),
}
APPEARANCE = {
    "abrupt_edge": "Fraction of the outline with an abrupt edge",
    "echo_ratio": "Mean gray of the core over that of the adjacent tissue",
    "echo_variation": "Gray deviation of the core over gray of the adjacent tissue",
    "echo_free": "Fraction of patches of the core that are almost black",
    "posterior_ratio": "Mean gray behind over that of the adjacent tissue",
    "posterior_left": "Mean gray behind the left half over that of the adjacent tissue",
    "posterior_right": "Mean gray behind the right half over that of the adjacent tissue",
}
KNOWN_CLASSES = {"normal": "Normal", "benign": "Benign", "malignant": "Malignant"}

QUARTER = 12  # edges of a quarter of an ellipse: at most 0.2 % of its radius inside of it


@dataclass(frozen=True, kw_only=True)
class MeasuredLesion:
    """A lesion of a report, with lengths and area in millimetres, or in pixels if ``in_mm`` is False.

    ``descriptors`` are suggested BI-RADS descriptors by the keys of ``DESCRIPTORS``, and ``appearance`` the numbers from which they
    follow, by the keys of ``APPEARANCE``. Unknown ones are left out.
    """

    long_axis: float
    short_axis: float
    area: float
    in_mm: bool
    probability: float
    long_axis_ends: tuple[Point, Point]
    short_axis_ends: tuple[Point, Point]
    descriptors: Mapping[str, str]
    appearance: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class FrameFindings:
    """The findings of one frame; ``frame`` is None for the only frame of a single image."""

    frame: int | None
    label: str | None
    probabilities: Mapping[str, float]
    lesions: Sequence[MeasuredLesion]
    candidates: Sequence[MeasuredLesion] = ()


def tracking_uid(reference: Any, algorithm: Algorithm, identifier: str, lesion: MeasuredLesion) -> str:
    """Return the UID of an outline of an image, which is the same in each report and segmentation that contains this outline."""
    ends = (*lesion.long_axis_ends, *lesion.short_axis_ends)
    place = ", ".join(f"{row:.2f} {column:.2f}" for row, column in ends)
    return new_uid(f"{identifier} at {place} in {reference.SOPInstanceUID} by {algorithm.device_uid}")


def procedure_of(modality: str) -> Any:
    """Return the code of the procedure that a report is about."""
    codes = pydicom("pydicom.sr.codedict").codes
    return codes.SCT.Mammography if modality == "MG" else codes.SCT.UltrasonographyOfBreast


def encode_report(
    reference: Any, findings: Sequence[FrameFindings], *, algorithm: Algorithm, name: str, uids: ObjectUids = RANDOM
) -> bytes:
    """Encode a report as the bytes of a DICOM file.

    Args:
        reference: Reference that ``deidentify.read_reference`` returned.
        findings: Findings of each frame.
        algorithm: Algorithm that made the findings.
        name: Name of the source in errors.
        uids: UIDs of the report.
    """
    with guarded(name, UNFIT):
        return _Writer(reference, algorithm, uids).write(findings)


class _Writer:
    def __init__(self, reference: Any, algorithm: Algorithm, uids: ObjectUids) -> None:
        self.sr, self.codes = pydicom("highdicom.sr"), pydicom("pydicom.sr.codedict").codes
        self.reference, self.algorithm, self.uids = reference, algorithm, uids
        self.method = algorithm.identification()

    def write(self, findings: Sequence[FrameFindings]) -> bytes:
        report = self.sr.MeasurementReport(
            observation_context=self.algorithm.observation_context(),
            procedure_reported=procedure_of(self.reference.Modality),
            imaging_measurements=[group for found in findings for group in self._groups(found)],
            title=self.codes.DCM.ImagingMeasurementReport,
        )
        document = self.sr.Comprehensive3DSR(
            evidence=[self.reference],
            content=report[0],
            series_instance_uid=self.uids("series"),
            series_number=9002,
            sop_instance_uid=self.uids("instance"),
            instance_number=1,
            is_complete=True,
            coding_schemes=[self._own_scheme()],
            series_description=f"Measurements by {self.algorithm.name}"[:64],
            **self.algorithm.equipment,
        )
        return file_content(document)

    @property
    def _is_mammogram(self) -> bool:
        return bool(self.reference.Modality == "MG")

    def _groups(self, found: FrameFindings) -> list[Any]:
        """Return the measurement groups of a frame: its class, then its lesions and its candidates."""
        lesions = [self._lesion(lesion, f"lesion {number}", found.frame) for number, lesion in enumerate(found.lesions, 1)]
        status = self.sr.QualitativeEvaluation(
            name=self._own("status", "", "Status of the outline"), value=self._own("status", "candidate", CANDIDATE)
        )
        candidates = [
            self._lesion(one, f"candidate {number}", found.frame, [status]) for number, one in enumerate(found.candidates, 1)
        ]
        return [self._scan(found), *lesions, *candidates]

    def _scan(self, found: FrameFindings) -> Any:
        place = self.sr.SourceImageForMeasurementGroup(
            self.reference.SOPClassUID, self.reference.SOPInstanceUID, referenced_frame_numbers=_numbers(found.frame)
        )
        counted = self._own("lesions", "", "Number of outlined lesions")
        corner = [first_pixel(self.reference, _numbers(found.frame))]
        counts = [self._measurement(counted, len(found.lesions), no_dimension("counts"), corner)]
        if found.candidates:
            other = self._own("candidates", "", "Number of candidates")
            counts.append(self._measurement(other, len(found.candidates), no_dimension("counts")))
        chances = [
            self._measurement(self._own("probability", name, f"Probability of {name}"), value, no_dimension("ratio"))
            for name, value in found.probabilities.items()
        ]
        named = [] if found.label is None else [(self._own("class", "", "Class of the scan"), self._class(found.label))]
        return self.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking("scan", found.frame),
            algorithm_id=self.method,
            finding_sites=[self.sr.FindingSite(self.codes.SCT.Breast)],
            source_images=[place],
            measurements=[*counts, *chances],
            qualitative_evaluations=[self.sr.QualitativeEvaluation(name=name, value=value) for name, value in named] or None,
        )

    def _lesion(self, lesion: MeasuredLesion, name: str, frame: int | None, evaluations: Sequence[Any] = ()) -> Any:
        image = self.sr.SourceImageForRegion(
            self.reference.SOPClassUID, self.reference.SOPInstanceUID, referenced_frame_numbers=_numbers(frame)
        )
        outline = ellipse_outline(lesion.long_axis_ends, lesion.short_axis_ends)
        length, area = (
            (self.codes.UCUM.Millimeter, self.codes.UCUM.SquareMillimeter) if lesion.in_mm else (self._pixels(), self._pixels())
        )
        return self.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking(name, frame, lesion),
            referenced_region=self.sr.ImageRegion(graphic_type="POLYLINE", graphic_data=outline, source_image=image),
            finding_type=self.codes.SCT.Mass,
            algorithm_id=self.method,
            finding_sites=[self.sr.FindingSite(self.codes.SCT.Breast)],
            measurements=[
                self._measurement(self.codes.SCT.LongAxis, lesion.long_axis, length),
                self._measurement(self.codes.SCT.ShortAxis, lesion.short_axis, length),
                self._measurement(self.codes.SCT.Area, lesion.area, area),
                self._measurement(
                    self._own("mask-probability", "", "Mean probability of lesion"), lesion.probability, no_dimension("ratio")
                ),
                *self._appearance(lesion),
            ],
            qualitative_evaluations=[*evaluations, *self._descriptors(lesion)] or None,
        )

    def _descriptors(self, lesion: MeasuredLesion) -> list[Any]:
        """Return the descriptors of a mass in ultrasound; mammograms have others."""
        if self._is_mammogram:
            return []
        evaluations = []
        for key, word in lesion.descriptors.items():
            name, values = DESCRIPTORS[key]
            value = self._standard(values[word]) if word in values else self._own(key, word, word.capitalize())
            evaluations.append(self.sr.QualitativeEvaluation(name=self._standard(name), value=value))
        return evaluations

    def _appearance(self, lesion: MeasuredLesion) -> list[Any]:
        """Return the numbers from which descriptors of a mass in ultrasound follow."""
        if self._is_mammogram:
            return []
        none = no_dimension("ratio")
        return [self._measurement(self._own(key, "", APPEARANCE[key]), value, none) for key, value in lesion.appearance.items()]

    def _standard(self, code: tuple[str, str]) -> Any:
        scheme, keyword = code
        return getattr(getattr(self.codes, scheme), keyword)

    def _measurement(self, name: Any, value: float, unit: Any, place: Sequence[Any] | None = None) -> Any:
        return self.sr.Measurement(name=name, value=round(float(value), 4), unit=unit, referenced_coordinates=place)

    def _tracking(self, what: str, frame: int | None, lesion: MeasuredLesion | None = None) -> Any:
        identifier = what if frame is None else f"frame {frame}, {what}"
        uid = self.uids(identifier) if lesion is None else tracking_uid(self.reference, self.algorithm, identifier, lesion)
        return self.sr.TrackingIdentifier(uid=uid, identifier=identifier)

    def _class(self, label: str) -> Any:
        keyword = KNOWN_CLASSES.get(label.lower())
        return getattr(self.codes.SCT, keyword) if keyword else self._own("is", label, label)

    def _pixels(self) -> Any:
        return self.sr.CodedConcept("{pixels}", "UCUM", "pixels")

    def _own_scheme(self) -> Any:
        return pydicom("highdicom.coding_schemes").CodingSchemeIdentificationItem(
            designator=SCHEME, name=MAKER, responsible_organization=MAKER
        )

    def _own(self, kind: str, name: str, meaning: str) -> Any:
        """Return a code of the library's own scheme, with a hash of the name because DICOM allows 16 characters."""
        value = f"{kind[:4]}-{new_uid(kind + name)[-10:]}"
        return self.sr.CodedConcept(value, SCHEME, meaning[:64])


def _numbers(frame: int | None) -> list[int] | None:
    return None if frame is None else [frame]


def ellipse_outline(long_axis: tuple[Point, Point], short_axis: tuple[Point, Point]) -> NDArray[np.float64]:
    """Return the ellipse with these axes as a closed polyline of columns and rows in DICOM's coordinates.

    Its points 0 and ``2 * QUARTER`` are the ends of the long axis, ``QUARTER`` and ``3 * QUARTER`` those of the short axis.
    """
    ends = np.array([*long_axis, *short_axis])[:, ::-1] + 0.5  # the centre of the first pixel is (0.5, 0.5)
    centre, long, short = ends.mean(axis=0), (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
    angles = np.arange(4 * QUARTER + 1)[:, None] * (np.pi / 2 / QUARTER)
    outline = centre - np.cos(angles) * long - np.sin(angles) * short
    outline[-1] = outline[0]
    return np.asarray(outline, float)


def first_pixel(reference: Any, frames: Sequence[int] | None) -> Any:
    """Return the coordinates at which viewers show a measurement of the whole frame."""
    sr = pydicom("highdicom.sr")
    image = sr.SourceImageForRegion(reference.SOPClassUID, reference.SOPInstanceUID, referenced_frame_numbers=frames)
    return sr.CoordinatesForMeasurement(graphic_type="POINT", graphic_data=np.array([[0.5, 0.5]]), source_image=image)


def no_dimension(kind: str) -> Any:
    """Return the unit of a number without dimension; OHIF shows a 0 with the unit "1", DICOM's usual one, as a 1."""
    return pydicom("highdicom.sr").CodedConcept(f"{{{kind}}}", "UCUM", kind)
