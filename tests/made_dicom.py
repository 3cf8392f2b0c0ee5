"""DICOM made by a script: ultrasound with a patient's name, regions, clips and any pixel format, with known ground truth."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    ExplicitVRLittleEndian,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

NAME, PATIENT_ID, BIRTH, ACCESSION = "Secret^Name", "ID-4711-SECRET", "19610203", "ACC-0815"
STUDY_DATE = "20240517"
IDENTIFIERS = (NAME, "Secret", PATIENT_ID, BIRTH, ACCESSION, STUDY_DATE)


def region(
    box: tuple[int, int, int, int], delta: tuple[float, float] = (0.01, 0.01), *, data_type: int = 1, form: int = 1, units: int = 3
) -> Dataset:
    """Return an ultrasound region: top, left, bottom, right (one past the last), cm per pixel down and across."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = form, data_type, 0
    item.RegionLocationMinY0, item.RegionLocationMinX0 = box[0], box[1]
    item.RegionLocationMaxY1, item.RegionLocationMaxX1 = box[2] - 1, box[3] - 1
    item.ReferencePixelX0, item.ReferencePixelY0 = (box[3] - box[1]) // 2, -7
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaY, item.PhysicalDeltaX = delta
    return item


def dicom(
    pixels: np.ndarray, *regions: Dataset, photometric: str | None = None, clip: bool = False, **elements: Any
) -> FileDataset:
    """Return a data set of pixels: H x W, H x W x 3, or with frames first when it is a clip."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage if clip else UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = NAME, PATIENT_ID, BIRTH, "F"
    made.AccessionNumber, made.StudyDate, made.StudyTime, made.StudyID = ACCESSION, STUDY_DATE, "101500", "7"
    made.ReferringPhysicianName, made.Manufacturer, made.Modality = "Doctor^Secret", "made", "US"
    made.SeriesNumber, made.InstanceNumber, made.PatientOrientation = 1, 1, ""
    if regions:
        made.SequenceOfUltrasoundRegions = list(regions)
    still = pixels[0] if clip else pixels
    if clip:
        made.NumberOfFrames, made.FrameTime, made.FrameIncrementPointer = len(pixels), 40.0, 0x00181063
    made.Rows, made.Columns = still.shape[:2]
    made.SamplesPerPixel = 3 if still.ndim == 3 else 1
    made.PhotometricInterpretation = photometric or ("RGB" if still.ndim == 3 else "MONOCHROME2")
    if still.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(pixels.dtype.kind == "i")
    content = pixels.tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def content(made: Dataset) -> bytes:
    """Return the bytes of a data set's file."""
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def panicking_rle(pixels: np.ndarray) -> bytes:
    """Return a file of 16 bits whose second RLE segment starts inside of the first: the decoder, written in Rust, panics."""
    made = dicom(pixels.astype(np.uint16) * 257)
    made.compress(RLELossless, encoding_plugin="", generate_instance_uid=False)
    frame = bytearray(next(generate_frames(made.PixelData, number_of_frames=1)))
    struct.pack_into("<L", frame, 8, 65)
    made.PixelData = encapsulate([bytes(frame)])
    return content(made)


def save(made: Dataset, path: Path) -> Path:
    """Write a data set to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(made))
    return path
