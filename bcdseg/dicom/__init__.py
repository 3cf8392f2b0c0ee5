"""DICOM in and out. The one owner of pydicom and highdicom (extra ``dicom``)."""
