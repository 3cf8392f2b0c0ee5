"""Public names, and the modules that their import loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from public_api import LIST, public_api

import bcdseg

PUBLIC = {
    "ArrivedScan",
    "Audit",
    "Benchmark",
    "ClipSummary",
    "CrossValidation",
    "Dataset",
    "DicomWebServer",
    "Evaluation",
    "ExternalPrediction",
    "ExternalValidation",
    "Failure",
    "Finding",
    "FitConfig",
    "Flag",
    "Lesion",
    "Metric",
    "Model",
    "ModelRecord",
    "Network",
    "NetworkConfig",
    "OperatingPoint",
    "Output",
    "PacsResult",
    "Prediction",
    "Preprocessing",
    "ReaderComparison",
    "ReaderStudy",
    "Recipe",
    "Rules",
    "Run",
    "Sample",
    "SegmentationClassificationTask",
    "SiteFit",
    "Split",
    "Tiles",
    "__version__",
    "audit",
    "benchmark",
    "calibrate",
    "check_disjoint",
    "combine",
    "compare_readers",
    "create",
    "cross_validate",
    "ensemble",
    "errors",
    "evaluate",
    "evaluate_external",
    "evaluate_predictions",
    "evaluate_readers",
    "exclude_training_samples",
    "extract_frames",
    "fetch_busi",
    "fetch_dataset",
    "fit",
    "fit_site",
    "folds",
    "load",
    "load_folds",
    "load_split",
    "models",
    "open_dataset",
    "predict_dicomweb",
    "read_config",
    "recipe",
    "recipes",
    "register",
    "sample_scans",
    "save_annotations",
    "save_dicom_seg",
    "save_dicom_sr",
    "split",
    "summarize_clip",
    "unseen",
    "watch_folder",
}


def test_public_names_are_pinned() -> None:
    assert set(bcdseg.__all__) == PUBLIC


def test_every_public_name_exists_and_has_a_docstring() -> None:
    for name in PUBLIC - {"__version__"}:
        assert getattr(bcdseg, name).__doc__, name


def test_no_public_name_is_that_of_a_module_or_folder() -> None:
    modules = {path.stem for path in Path(bcdseg.__file__).parent.iterdir() if not path.name.startswith("__")}
    assert {"errors"} == modules & PUBLIC  # importing a module would replace the function of that name


def test_importing_the_library_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "monai", "skimage", "PIL", "albumentations")
    code = f"import sys, bcdseg; print([name for name in {heavy} if name in sys.modules])"
    assert _python(code) == "[]"


def test_predicting_imports_neither_training_nor_augmentation() -> None:
    code = (
        "import sys, numpy, bcdseg, bcdseg.batch.runner;"
        "model = bcdseg.create('plain_cnn', classes=['a', 'b'], size=32);"
        "model.predict(numpy.zeros((32, 32), numpy.uint8));"
        "unwanted = ('pydicom', 'highdicom', 'monai', 'albumentations', 'pytorch_lightning', 'sklearn', 'matplotlib');"
        "print([name for name in unwanted if name in sys.modules])"
    )
    assert _python(code) == "[]"


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_public_signatures_are_those_that_are_listed() -> None:
    """Detect changes that users notice: deprecate first, then run ``python tests/public_api.py``."""
    assert public_api() == LIST.read_text(encoding="utf-8").splitlines()
