"""Agreement of CUDA with the CPU: in 16 bits, with torch.compile and CUDA graphs, from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import draw_scan

import bcdseg
from bcdseg import Model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]
SCANS = [draw_scan(seed, (120, 160)) for seed in range(37)]  # two batches of sixteen, and five


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = bcdseg.create("plain_cnn", classes=["a", "b", "c"], size=32, decoder_channels=(16, 8, 8, 4, 4))
    return made.save(tmp_path_factory.mktemp("model") / "small")


def _difference(model: Model, folder: Path) -> float:
    """Return the largest difference of the model's probabilities from those of torch on the CPU."""
    exact = bcdseg.load(folder, device="cpu", runtime="torch").predict(SCANS)
    differences = []
    for found, expected in zip(model.predict(SCANS), exact, strict=True):
        differences += [abs(found.probabilities[name] - value) for name, value in expected.probabilities.items()]
        differences.append(float(np.abs(found.mask_probability - expected.mask_probability).max()))
    return max(differences)


def test_auto_chooses_16_bits(folder: Path) -> None:
    model = bcdseg.load(folder)
    assert (model.device, model.runtime, model.precision) == ("cuda", "torch", "fp16")
    assert _difference(model, folder) < 0.01


@pytest.mark.parametrize("runtime", ["torch", "compile"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.003), ("fp16", 0.01), ("bf16", 0.05)])
def test_outputs_are_those_of_the_cpu(folder: Path, runtime: str, precision: str, tolerance: float) -> None:
    assert _difference(bcdseg.load(folder, runtime=runtime, precision=precision), folder) < tolerance


@pytest.mark.parametrize("runtime", ["torch", "compile"])
def test_threads_share_a_model(folder: Path, runtime: str) -> None:
    model = bcdseg.load(folder, runtime=runtime)
    alone = [model.predict(scan).probabilities for scan in SCANS]
    with ThreadPoolExecutor(8) as pool:
        together = [found.probabilities for found in pool.map(model.predict, SCANS)]
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_heat_maps_are_finite(folder: Path) -> None:
    found = bcdseg.load(folder).predict(SCANS[0], explain=True)
    assert found.heatmap is not None
    assert np.isfinite(found.heatmap).all()
