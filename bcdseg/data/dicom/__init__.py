"""DICOM in and out: frames with their millimetres, segmentations and reports. The one owner of pydicom and highdicom."""
