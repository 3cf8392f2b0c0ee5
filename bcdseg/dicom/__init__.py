"""DICOM input and output, the only user of pydicom and highdicom (extra ``dicom``)."""
