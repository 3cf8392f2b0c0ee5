"""Commands for a PACS: ``bcdseg dicomweb`` and ``bcdseg watch``."""
