"""Read a DICOM scan, write its outline as DICOM-SEG and its measurements as a report, for a viewer or an archive.

python examples/09_dicom_to_dicom_seg.py [SCAN.dcm]

Needs the extra `dicom`. Without a scan, one is made from a sample, with 0.1 mm per pixel and the patient name "Nobody".
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import UltrasoundImageStorage, generate_uid

import bcdseg

SAMPLE = Path(__file__).parents[1] / "data" / "sample" / "benign" / "benign (2).png"
OUT = Path("example-output/dicom")
OUT.mkdir(parents=True, exist_ok=True)


def make_dicom(path: Path) -> Path:
    """Write a still ultrasound image as an ultrasound machine might write it."""
    pixels = np.asarray(Image.open(SAMPLE).convert("L"))
    made = pydicom.Dataset()
    made.SOPClassUID, made.SOPInstanceUID = UltrasoundImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = generate_uid(), generate_uid(), "US"
    made.PatientName, made.PatientID, made.PixelSpacing = "Nobody", "0", [0.1, 0.1]
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.set_pixel_data(pixels, "MONOCHROME2", 8)
    made.save_as(path, enforce_file_format=True)
    return path


source = Path(sys.argv[1]) if len(sys.argv) > 1 else make_dicom(OUT / "scan.dcm")
scan = bcdseg.load().predict(source)
print(scan, f"(scale from: {scan.spacing_from})")
print("outline:", scan.save_dicom_seg(OUT / "outline.dcm", overwrite=True))  # without the patient's name by default
print("report: ", scan.save_dicom_sr(OUT / "report.dcm", overwrite=True))

written = pydicom.dcmread(OUT / "outline.dcm")
print(f"{written.Modality} of {written.Rows}x{written.Columns} pixels, patient {written.PatientName}")
