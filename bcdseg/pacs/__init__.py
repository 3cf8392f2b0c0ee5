"""Results in a picture archive (PACS): over DICOMweb, and for what arrives in a folder (extra ``pacs``)."""
