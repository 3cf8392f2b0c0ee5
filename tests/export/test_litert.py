"""LiteRT: scans on a canvas, and a file that a phone's interpreter runs.

The converter wants an older torch than the library's newest, so where it isn't installed, tests run a file that it made of the
same model before: ``small.tflite``, written by ``python tests/export/test_litert.py`` in an environment with the extra litert.
"""

from __future__ import annotations

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_scan
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from without_the_library import run_without

import bcdseg
from bcdseg import Model, errors
from bcdseg.export.export import _as_input
from bcdseg.export.litert import CANVAS, canvas_size, inputs_of, open_litert, with_facts
from bcdseg.export.pipeline import Pipeline, Subject
from bcdseg.networks import encoders

MADE = Path(__file__).parent / "small.tflite"
EXAMPLE = Path(__file__).parents[2] / "examples" / "13_litert_without_torch.py"
SCANS = [draw_scan(seed, size) for seed, size in enumerate([(120, 160), (41, 33), (40, 40), (700, CANVAS)])]
converts = pytest.mark.skipif(
    find_spec("litert_torch") is None, reason="litert-torch, which wants torch before 2.15, is not installed"
)
runs = pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # the converter's


def _small(**options: Any) -> Model:
    """Return a model that is small enough for its file to be stored here."""
    torch.manual_seed(0)
    facts: dict[str, Any] = {"classes": ["a", "b"], "size": (32, 40), "decoder_channels": (16, 8, 8, 4, 4)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "WIDTHS", (8, 8, 16, 16, 16))
        made = bcdseg.create("plain_cnn", **{**facts, **options})
    return Model(made.network, made.preprocessing, bcdseg.Rules(temperature=1.7, threshold=0.47), name="small")


def _subject(model: Model) -> Subject:
    return Subject(network=model.network, preprocessing=model.preprocessing, rules=model.rules, name="small", card="")


def _difference(file: Path, model: Model, scans: list[Any]) -> float:
    """Return the largest difference of a file's probabilities from the model's; 1 if a mask isn't the thresholded one."""
    run, differences = open_litert(file, _subject(model)), [0.0]
    for scan in scans:
        found, expected = run(scan[None]), model.predict(scan)
        if expected.mask_probability is not None:
            differences.append(float(np.abs(found["mask_probability"][0] - expected.mask_probability).max()))
            thresholded = found["mask_probability"] >= np.float32(model.rules.threshold)
            differences.append(float((found["mask"] != thresholded).any()))
        if expected.probabilities:
            differences.append(float(np.abs(found["probabilities"][0] - [*expected.probabilities.values()]).max()))
    assert len(differences) > 1, "nothing was compared"
    return max(differences)


@given(
    height=st.integers(8, 300), width=st.integers(8, 300), around=st.integers(0, 255), resize=st.sampled_from(["stretch", "fit"])
)
def test_a_scan_on_a_canvas_has_the_outputs_of_the_scan_alone(height: int, width: int, around: int, resize: str) -> None:
    pipeline, scan = Pipeline(_subject(_small(resize=resize)), "fp32").eval(), draw_scan(height, (height, width))
    canvas = torch.full((1, 300, 320), around, dtype=torch.uint8)
    canvas[0, :height, :width] = torch.from_numpy(scan)
    with torch.inference_mode():
        probability, mask, classes = pipeline(canvas, torch.tensor([height, width], dtype=torch.int32))
        alone = pipeline(torch.from_numpy(scan)[None])
    torch.testing.assert_close(probability[:, :height, :width], alone[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(classes, alone[2], atol=1e-6, rtol=0)
    assert not mask[:, height:].any()
    assert not mask[:, :, width:].any()


def test_the_inputs_of_a_file_are_a_canvas_and_the_size_of_the_scan() -> None:
    colour = np.full((20, 30, 3), 9, np.uint8)
    given = inputs_of(colour, _small(in_channels=3).preprocessing)
    assert given["scan"].shape == (1, CANVAS, CANVAS, 3)
    assert given["scan"].sum() == colour.sum()
    assert given["size"].tolist() == [20, 30]
    assert canvas_size(_small(size=(2000, 64)).preprocessing) == (2016, CANVAS)
    assert max(_as_input(_small().preprocessing, CANVAS, np.zeros((3000, 1000), np.uint8)).shape) == CANVAS


def test_facts_are_a_zip_behind_the_model() -> None:
    content = with_facts(b"a model", {"name": "x"})
    assert content.startswith(b"a model")
    assert content == with_facts(b"a model", {"name": "x"})


@pytest.mark.skipif(find_spec("litert_torch") is not None, reason="litert-torch is installed")
def test_without_the_converter_the_error_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(errors.MissingExtraError, match=r"environment of its own.*bcdseg\[litert\]"):
        _small().export(tmp_path / "model.tflite")


def test_a_model_that_takes_any_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="one size"):
        _small(resize="none").export(tmp_path / "model.tflite")


@runs
def test_a_file_has_the_outputs_of_its_model() -> None:
    assert _difference(MADE, _small(), SCANS) < 1e-4


@runs
def test_the_example_runs_without_torch_and_without_the_library(tmp_path: Path) -> None:
    Image.fromarray(SCANS[0]).save(tmp_path / "scan.png")
    lines = run_without(EXAMPLE, MADE, tmp_path / "scan.png")
    expected = _small().predict(SCANS[0])
    assert lines[0].split() == ["a", f"{expected.probabilities['a']:.0%}"]
    assert expected.mask is not None
    assert lines[-1] == f"outlined: {expected.mask_probability.__ge__(0.47).mean():.1%} of the scan"


def test_the_file_describes_its_content() -> None:
    facts = json.loads(zipfile.ZipFile(MADE).read("bcdseg.json"))
    assert json.loads(facts["classes"]) == ["a", "b"]
    assert json.loads(facts["rules"])["temperature"] == 1.7
    assert facts["input"].startswith(f"scan: uint8, 1 x {CANVAS} x {CANVAS}")


@converts
@quiet
@pytest.mark.parametrize(
    "options",
    [
        {"size": (50, 70), "in_channels": 3},  # padded, and in colour
        {"decoder": None, "decoder_channels": None, "resize": "fit"},
        {"classes": [], "head": None},
    ],
)
def test_every_kind_of_model(options: dict[str, Any], tmp_path: Path) -> None:
    model = _small(**options)
    scan = draw_scan(3, (45, 61))
    scan = np.stack([scan, scan // 2, 255 - scan], axis=-1) if model.preprocessing.channels == 3 else scan
    assert _difference(model.export(tmp_path / "model.tflite").path, model, [scan]) < 1e-4


@converts
@quiet
def test_an_ensemble_is_one_file(tmp_path: Path) -> None:
    both = bcdseg.ensemble([_small(), _small(decoder=None, decoder_channels=None)])
    assert _difference(both.export(tmp_path / "both.tflite").path, both, SCANS[:2]) < 1e-4


@converts
@quiet
def test_smaller_numbers_make_a_smaller_file(tmp_path: Path) -> None:
    model = _small()
    half = model.export(tmp_path / "half.tflite", precision="fp16")
    assert half.size < MADE.stat().st_size
    assert _difference(half.path, model, SCANS[:1]) < 0.01
    small = model.export(tmp_path / "small.tflite", precision="int8", calibrate_on=SCANS[:3])
    assert small.size < MADE.stat().st_size
    assert 0 < small.difference.mask_probability < 0.02


if __name__ == "__main__":
    print(_small().export(MADE, check_on=SCANS, overwrite=True))
