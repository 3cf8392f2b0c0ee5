"""A model exported to a file of another format: the file's outputs are the model's, or it is not written."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_scan
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner
from without_the_library import run_without

import bcdseg
from bcdseg import Model, errors
from bcdseg.cli import app
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.export import export as export_module
from bcdseg.export.formats import FORMATS
from bcdseg.export.pipeline import Extent, Subject, _fitted, _in_levels, _smoothly

SCANS = [draw_scan(seed, size) for seed, size in enumerate([(120, 160), (41, 33), (40, 40)])]
MADE_HERE = [name for name in FORMATS if name != "litert"]  # that one has test_litert.py
EXAMPLE = Path(__file__).parents[2] / "examples" / "08_onnx_without_torch.py"


def _small(**options: Any) -> Model:
    torch.manual_seed(0)
    facts: dict[str, Any] = {"classes": ["a", "b"], "size": (32, 40), "decoder_channels": (16, 8, 8, 4, 4)}
    made = bcdseg.create("plain_cnn", **{**facts, **options})
    rules = bcdseg.Rules(temperature=1.7, threshold=0.47, class_offsets=(0.4, -0.9) if len(made.classes) == 2 else ())
    return Model(made.network, made.preprocessing, rules, name="small")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, model = tmp_path_factory.mktemp("exported"), _small()
    return {name: model.export(folder / f"model{FORMATS[name].suffix}").path for name in MADE_HERE}


def _difference(file: Path, model: Model, scans: list[NDArray[np.uint8]]) -> float:
    """Return the largest difference between a file and a model, for batches of two; 1 if a mask isn't the thresholded one."""
    subject = Subject(network=model.network, preprocessing=model.preprocessing, rules=model.rules, name="", card="")
    (chosen,) = (chosen for chosen in FORMATS.values() if chosen.suffix == file.suffix)
    run, differences = chosen.opened(file, subject), [0.0]
    for scan in scans:
        found, expected = run(np.stack([scan, scan])), model.predict(scan)
        for row in range(2):
            if expected.mask_probability is not None:
                differences.append(float(np.abs(found["mask_probability"][row] - expected.mask_probability).max()))
                thresholded = found["mask_probability"] >= np.float32(model.rules.threshold)
                differences.append(float((found["mask"] != thresholded).any()))
            if expected.probabilities:
                differences.append(float(np.abs(found["probabilities"][row] - [*expected.probabilities.values()]).max()))
    assert len(differences) > 1, "nothing was compared"
    return max(differences)


@given(
    before=st.integers(1, 700),
    after=st.integers(1, 300),
    around=st.tuples(*[st.integers(0, 40)] * 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_resizing_in_the_graph_is_pillows_bit_for_bit(before: int, after: int, around: tuple[int, ...], seed: int) -> None:
    lines = np.random.default_rng(seed).integers(0, 256, (5, before), dtype=np.uint8)
    padded = torch.from_numpy(np.pad(lines, ((0, 0), around[:2]), constant_values=99)).float()
    extents = Extent(around[0], before), around[2] + after + around[3], Extent(around[2], after)
    expected = np.asarray(Image.fromarray(lines).resize((after, 5), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(_in_levels(padded, *extents).numpy(), np.pad(expected, ((0, 0), around[2:])))
    smooth = np.asarray(Image.fromarray(lines / np.float32(255)).resize((after, 5), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(_smoothly(padded / 255, *extents).numpy(), np.pad(smooth, ((0, 0), around[2:])), atol=1e-6)


@given(scan=st.tuples(*[st.integers(1, 8192)] * 2), size=st.tuples(*[st.integers(16, 1024)] * 2))
def test_a_scan_fits_into_the_network_by_exact_fractions(scan: tuple[int, int], size: tuple[int, int]) -> None:
    scale = min(Fraction(size[0], scan[0]), Fraction(size[1], scan[1]))
    expected = tuple(max(1, round(side * scale)) for side in scan)
    assert Preprocessing(size=size, resize="fit").placement(scan).resized == expected
    assert tuple(map(int, _fitted(scan, size))) == expected
    assert tuple(map(int, _fitted(tuple(map(torch.tensor, scan)), size))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("format", MADE_HERE)
def test_a_file_takes_scans_of_any_size_and_has_the_outputs_of_the_model(written: dict[str, Path], format: str) -> None:
    assert _difference(written[format], _small(), SCANS) < 1e-4


@pytest.mark.parametrize("format", MADE_HERE)
def test_a_file_keeps_the_aspect_ratio_of_scans_of_any_size(format: str, tmp_path: Path) -> None:
    model = _small(resize="fit")
    file = model.export(tmp_path / f"model{FORMATS[format].suffix}").path
    assert _difference(file, model, [*SCANS, draw_scan(3, (30, 200))]) < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"size": (50, 70), "in_channels": 3},  # padded, and in colour
        {"classes": [], "head": None, "resize": "none"},
        {"size": (50, 70), "in_channels": 3, "resize": "fit"},
        {"decoder": None, "decoder_channels": None, "resize": "fit"},
    ],
)
def test_every_kind_of_model(options: dict[str, Any], tmp_path: Path) -> None:
    model = _small(**options)
    size = (64, 96) if options.get("resize") == "none" else (45, 61)
    scan = draw_scan(3, size)
    scan = np.stack([scan, scan // 2, 255 - scan], axis=-1) if model.preprocessing.channels == 3 else scan
    file = model.export(tmp_path / "model.pt2").path  # the pipeline is the same in every format
    assert _difference(file, model, [scan]) < 1e-4


def test_an_ensemble_is_one_file(tmp_path: Path) -> None:
    both = bcdseg.ensemble([_small(), _small(decoder=None, decoder_channels=None)])
    file = both.export(tmp_path / "both.pt2").path  # tests/inference runs one on ONNX Runtime
    assert _difference(file, both, SCANS[:2]) < 1e-4


def test_half_precision_is_half_the_size(written: dict[str, Path], tmp_path: Path) -> None:
    model = _small()
    for name in ("onnx", "openvino"):
        half = model.export(tmp_path / written[name].name, precision="fp16")
        assert half.difference.probability < 0.01
        whole = written[name].with_suffix(".bin") if name == "openvino" else written[name]
        assert half.path.with_suffix(whole.suffix).stat().st_size < 0.6 * whole.stat().st_size
        assert _difference(half.path, model, SCANS[:1]) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_int8_takes_its_ranges_from_scans(name: str, tmp_path: Path) -> None:
    done = _small().export(tmp_path / name, precision="int8", calibrate_on=SCANS)
    assert 0 < done.difference.mask_probability < 0.02
    assert done.difference.scans == len(SCANS)
    assert str(done.difference) in str(done)


def test_the_example_runs_without_torch_and_without_the_library(written: dict[str, Path], tmp_path: Path) -> None:
    Image.fromarray(SCANS[0]).save(tmp_path / "scan.png")
    lines = run_without(EXAMPLE, written["onnx"], tmp_path / "scan.png")
    expected = _small().predict(SCANS[0])
    assert lines[0].split() == ["a", f"{expected.probabilities['a']:.0%}"]


def test_the_metadata_describes_the_content(written: dict[str, Path]) -> None:
    import onnxruntime
    import openvino

    facts = onnxruntime.InferenceSession(written["onnx"]).get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["a", "b"]
    assert json.loads(facts["rules"])["temperature"] == 1.7
    assert facts["card"].startswith("---")
    assert facts["input"] == "scan: uint8, batch x height x width"
    same = openvino.Core().read_model(written["openvino"]).get_rt_info(["bcdseg", "preprocessing"]).astype(str)
    assert json.loads(same)["size"] == [32, 40]
    files = {"bcdseg.json": ""}
    torch.export.load(written["torch"], extra_files=files)
    assert json.loads(files["bcdseg.json"])["library_version"] == bcdseg.__version__


def test_a_file_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = _small()
    with torch.no_grad():
        other.network.class_head.linear.bias += torch.tensor([0.1, 0.0])  # type: ignore[union-attr, operator]
    right = export_module.TorchRuntime
    monkeypatch.setattr(export_module, "TorchRuntime", lambda _, *facts: right(other.network, *facts))
    with pytest.raises(errors.ParityError, match=r"not written.*class probabilities"):
        _small().export(tmp_path / "model.pt2", check_on=SCANS[0])
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_by_default_and_options_are_checked(tmp_path: Path) -> None:
    model = _small()
    (tmp_path / "model.pt2").write_text("mine")
    with pytest.raises(errors.OutputExistsError, match=r"model\.pt2"):
        model.export(tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").read_text() == "mine"
    for name, options, message in (
        ("model.h5", {}, r"onnx \(\.onnx\), openvino \(\.xml\), litert \(\.tflite\), torch \(\.pt2\)"),
        ("model.onnx", {"format": "openvino"}, r"ends in \.xml"),
        ("model.pt2", {"precision": "fp16"}, "has fp32"),
        ("model.onnx", {"precision": "int8"}, "calibrate_on"),
        ("model.onnx", {"calibrate_on": SCANS}, "calibrate_on"),
    ):
        with pytest.raises(errors.OptionError, match=message):
            model.export(tmp_path / name, **options)  # type: ignore[arg-type]


def test_wrong_options_are_reported_before_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcdseg.export.formats.trace_pipeline", lambda *_: pytest.fail("the model is converted"))
    small, there = _small(), tmp_path / "there.onnx"
    there.touch()
    with pytest.raises(errors.OutputExistsError, match=r"there\.onnx: exists already"):
        small.export(there)
    with pytest.raises(errors.OptionError, match="check_on= has no scans"):
        small.export(tmp_path / "m.onnx", check_on=[])
    with pytest.raises(errors.OptionError, match="calibrate_on= has no scans"):
        small.export(tmp_path / "m.onnx", precision="int8", calibrate_on=[])
    with pytest.raises(errors.OptionError, match="format='coreml' is unknown"):
        small.export(tmp_path / "m.onnx", format="coreml")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = _small().save(tmp_path / "mine")
    done = CliRunner().invoke(app, ["export", str(folder), "--format", "torch"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("mine.pt2: torch, fp32")
    assert (tmp_path / "mine.pt2").is_file()
    assert isinstance(CliRunner().invoke(app, ["export", "--format", "h5"]).exception, errors.OptionError)
