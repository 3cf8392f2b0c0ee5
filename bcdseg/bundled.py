"""Names and places of what comes with the package: the default model and the sample scans."""

from __future__ import annotations

from pathlib import Path

DEFAULT_MODEL = "bus-multi"

IN_PACKAGE = Path(__file__).parent / "sample"  # in an installed wheel
IN_REPOSITORY = Path(__file__).parent.parent / "data" / "sample"  # in a clone, or installed from one with `pip install -e`


def sample_scans() -> Path:
    """Return the folder of 18 sample scans of BUSI with their masks, six of each class.

    The bundled models were not trained on these scans. BUSI is from W. Al-Dhabyani et al., "Dataset of breast ultrasound images",
    Data in Brief 28 (2020) 104863.

    Returns:
        A folder with the class folders ``benign``, ``malignant`` and ``normal``; ``bcdseg.open_dataset`` reads it.

    Examples:
        >>> scan = bcdseg.sample_scans() / "malignant" / "malignant (30).png"
        >>> bcdseg.load().predict(scan).label
        'malignant'
    """
    return IN_PACKAGE if IN_PACKAGE.is_dir() else IN_REPOSITORY
