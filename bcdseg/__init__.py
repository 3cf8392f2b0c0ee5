"""Breast-ultrasound scans, segmented and classified together.

>>> import bcdseg
>>> model = bcdseg.load()
>>> scan = model.predict("scan.png")
>>> scan.label, scan.probabilities, scan.mask, scan.lesions

For research. Not a medical device.
"""

import lazy_loader

from bcdseg.extras import disable_telemetry

disable_telemetry()  # before any dependency is imported

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
