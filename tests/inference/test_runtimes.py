"""Agreement of the runtimes with torch, and the fallback to torch where one disagrees or fails."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import draw_scan
from PIL import Image

import bcdseg
from bcdseg import Model, errors
from bcdseg.runtimes import agreement, choice, graph
from bcdseg.runtimes.graph import GraphRuntime

NEEDS_COMPILER = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")]
OTHERS = ("openvino", "onnxruntime", pytest.param("compile", marks=NEEDS_COMPILER))
INT8 = ("openvino", "onnxruntime")
SCANS = [draw_scan(seed, size) for seed, size in enumerate([(120, 160), (64, 64), (33, 50)])]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Use one cache for all tests here, so that each graph is made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BCDSEG_CACHE", str(folder))
        yield folder / "graphs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _small().save(tmp_path_factory.mktemp("model") / "small")


def _small(**options: object) -> Model:
    torch.manual_seed(0)
    made = bcdseg.create("plain_cnn", **{"classes": ["a", "b", "c"], "size": 32, "decoder_channels": (16, 8, 8, 4, 4), **options})  # type: ignore[arg-type]
    with torch.no_grad():  # outputs that differ between scans
        for name, weights in made.network.named_parameters():
            if name.endswith("weight") and ("head" in name):
                weights *= 8
    return made


def _difference(model: Model, exact: Model) -> float:
    """Return the largest difference of probabilities. If torch ran in a runtime's place, the warning would be an error."""
    differences = []
    for scan in SCANS:
        found, expected = model.predict(scan), exact.predict(scan)
        differences += [abs(found.probabilities[name] - value) for name, value in expected.probabilities.items()]
        if expected.mask_probability is not None:
            differences.append(float(np.abs(found.mask_probability - expected.mask_probability).max()))
    return max(differences)


@pytest.mark.parametrize("runtime", OTHERS)
def test_outputs_agree_with_torch_for_one_scan_a_stream_and_a_batch(folder: Path, runtime: str) -> None:
    exact, model = bcdseg.load(folder, runtime="torch"), bcdseg.load(folder, runtime=runtime)
    assert _difference(model, exact) < 1e-4
    assert (model.runtime, exact.runtime) == (runtime, "torch")
    for batch_size in (None, 2):
        for found, expected in zip(model.predict(SCANS * 2, batch_size=batch_size), exact.predict(SCANS * 2), strict=True):
            np.testing.assert_allclose(found.mask_probability, expected.mask_probability, atol=1e-4)
            assert found.label == expected.label


ONLY_MASKS: dict[str, object] = {"classes": [], "head": None, "resize": "none"}
ONLY_CLASSES: dict[str, object] = {"decoder": None, "decoder_channels": None}


@pytest.mark.parametrize(
    ("runtime", "options"),
    [("openvino", ONLY_MASKS), ("openvino", ONLY_CLASSES), pytest.param("compile", ONLY_MASKS, marks=NEEDS_COMPILER)],
)
def test_one_head_and_scans_at_their_own_size(runtime: str, options: dict[str, object]) -> None:
    assert _difference(_small(**options).run_on(runtime), _small(**options)) < 1e-4


def test_heat_maps_are_those_of_torch(folder: Path) -> None:
    exact, model = bcdseg.load(folder, runtime="torch"), bcdseg.load(folder, runtime="openvino")
    expected = [exact.predict(scan, explain="b") for scan in SCANS]
    for found, right in zip(
        [model.predict(SCANS[0], explain="b"), *model.predict(SCANS, explain="b")], [expected[0], *expected], strict=True
    ):
        np.testing.assert_allclose(found.heatmap, right.heatmap, atol=1e-4)
        assert found.explained == "b"
    assert model.predict(SCANS[0], explain=True).explained == exact.predict(SCANS[0], explain=True).label


def test_an_ensemble_is_one_graph_with_an_output_per_member() -> None:
    both = bcdseg.ensemble([_small(), _small(decoder=None, decoder_channels=None, head="global")])
    exact, model = copy.deepcopy(both), both.run_on("onnxruntime")
    assert _difference(model, exact) < 1e-4
    options = {"tta": "flip", "mode": "tiles"}
    for found, expected in zip(model.predict(SCANS[1:], **options), exact.predict(SCANS[1:], **options), strict=True):
        assert expected.spread is not None
        assert max(expected.spread.values()) > 0.01
        assert found.spread == pytest.approx(dict(expected.spread), abs=1e-4)
        np.testing.assert_allclose(found.mask_probability, expected.mask_probability, atol=1e-4)


@pytest.mark.parametrize(
    ("runtime", "precision", "tolerance"),
    [
        ("openvino", "bf16", 0.05),
        ("torch", "bf16", 0.05),
        ("torch", "fp16", 0.005),
        pytest.param("compile", "bf16", 0.05, marks=NEEDS_COMPILER),
    ],
)
def test_16_bits_agree_within_their_bounds(folder: Path, runtime: str, precision: str, tolerance: float) -> None:
    model = bcdseg.load(folder, runtime=runtime, precision=precision)
    assert _difference(model, bcdseg.load(folder, runtime="torch")) < tolerance
    assert (model.runtime, model.precision) == (runtime, precision)
    assert model.predict(SCANS[0]).mask_probability.dtype == np.float32


@pytest.mark.parametrize("runtime", INT8)
def test_int8_agrees_within_its_bounds(runtime: str) -> None:
    exact, quarter = (_small(decoder=None, decoder_channels=None) for _ in range(2))  # random masks are on their threshold
    quarter.run_on(runtime, precision="int8", calibrate_on=SCANS)
    for scan in SCANS:
        found, expected = quarter.predict(scan).probabilities, exact.predict(scan).probabilities
        assert found == pytest.approx(expected, abs=0.05)
        assert found != expected


NEW_PROCESS = """
import sys, warnings
import bcdseg
from bcdseg.cli import main

folder, scan, runtime = sys.argv[1:]
warnings.simplefilter("error")  # torch in the place of the runtime would be a warning
model = bcdseg.load(folder, runtime=runtime)
predictions = [model.predict(scan), *model.predict([scan, scan], tta="flip")]
predictions[0].save(folder + "/../out", overwrite=True)
sys.argv = ["bcdseg", "predict", scan, "--model", folder, "--runtime", runtime, "--format", "csv"]
try:
    main()
except SystemExit as end:
    print(end.code, *({"torch", "onnxscript"} & set(sys.modules)))
"""


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_new_process_finds_the_graph_and_imports_no_torch(folder: Path, cache: Path, tmp_path: Path, runtime: str) -> None:
    Image.fromarray(SCANS[0]).save(tmp_path / "scan.png")
    expected = bcdseg.load(folder, runtime=runtime).predict(tmp_path / "scan.png")
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    arguments = [sys.executable, "-c", NEW_PROCESS, str(folder), str(tmp_path / "scan.png"), runtime]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    header, row, modules = done.stdout.splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert cells["label"] == expected.label
    assert float(cells["probability_a"]) == pytest.approx(expected.probabilities["a"], abs=1e-4)
    assert modules == "0"
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before


def test_a_network_that_is_built_after_a_prediction_keeps_its_graph(folder: Path, tmp_path: Path) -> None:
    bcdseg.load(folder, runtime="openvino").predict(SCANS[0])
    copied = shutil.copytree(folder, tmp_path / "copied")
    model = bcdseg.load(copied, runtime="openvino")
    shutil.rmtree(copied)  # what load has read is enough
    runtime = model._current_runtime()
    before = model.predict(SCANS[0]).probabilities["a"]
    model.network.eval()
    assert model._current_runtime() is runtime
    with torch.no_grad():
        model.network.class_head.linear.bias += torch.tensor([2.0, 0.0, 0.0])  # type: ignore[union-attr, operator]
    assert model._current_runtime() is not runtime
    assert model.predict(SCANS[0]).probabilities["a"] > before


def test_a_damaged_weights_file_is_an_error_of_load_also_where_a_graph_is_in_the_cache(folder: Path, tmp_path: Path) -> None:
    bcdseg.load(folder, runtime="openvino").predict(SCANS[0])
    copied = shutil.copytree(folder, tmp_path / "copied")
    content = bytearray((copied / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copied / "model.safetensors").write_bytes(content)
    with pytest.raises(errors.ModelFileError, match="checksum"):
        bcdseg.load(copied, runtime="openvino")


@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda _: b"", lambda content: content[:-1] + b"?"]
)
def test_a_damaged_graph_is_converted_again(damage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path))
    key = graph.graph_key([b"a", b"graph"])
    graph.keep_graph(key, b"the graph")
    (kept,) = (tmp_path / "graphs").iterdir()
    kept.write_bytes(damage(kept.read_bytes()))  # type: ignore[operator]
    assert graph.read_graph(key) is None
    graph.keep_graph(key, b"the graph")
    assert graph.read_graph(key) == b"the graph"
    assert graph.graph_key([b"a", b"graph"]) != graph.graph_key([b"ag", b"raph"])


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "file"))
    graph.keep_graph("key", b"graph")
    assert graph.read_graph("key") is None


@pytest.mark.slow
def test_processes_that_start_together_give_the_same_outputs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path))
    with multiprocessing.get_context("spawn").Pool(2) as pool:  # a forked one would not use OpenVINO after its parent has
        outputs = set(pool.map_async(_first_output, [folder, folder], chunksize=1).get(timeout=300))
    assert len(outputs) == 1
    assert len(list((tmp_path / "graphs").iterdir())) == 1


def _first_output(folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.RuntimeFallbackWarning)
        return str(bcdseg.load(folder, runtime="openvino").predict(SCANS[0]).probabilities)


def test_a_graph_that_disagrees_is_replaced_by_torch_with_one_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, others = _small(), _small().run_on("openvino")._current_runtime()
    assert isinstance(others, GraphRuntime)
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(choice, "convert", lambda *_: others.graph)
    _negate_class_head(model)
    with pytest.warns(errors.RuntimeFallbackWarning, match=r"runs on torch.*differ"):
        model.run_on("openvino").predict(SCANS[0])
    assert _difference(model, _negate_class_head(_small())) < 1e-4  # a second warning would be an error
    monkeypatch.setattr(choice, "convert", None)  # it isn't tried again: the verdict was kept
    with pytest.warns(errors.RuntimeFallbackWarning, match="differ"):
        _negate_class_head(_small()).run_on("openvino").predict(SCANS[0])


def _negate_class_head(model: Model) -> Model:
    with torch.no_grad():
        model.network.class_head.linear.weight *= -1  # type: ignore[union-attr, operator]
    return model


def test_a_conversion_that_fails_is_replaced_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise RuntimeError("unsupported operation")

    monkeypatch.setattr(choice, "convert", fails)
    model = _small(size=64).run_on("openvino")
    with pytest.warns(errors.RuntimeFallbackWarning, match="unsupported operation"):
        model.predict(SCANS[0])
    assert _difference(model, _small(size=64)) < 1e-4


def test_auto_follows_the_variable_and_training_leaves_it_for_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bcdseg.load(folder).runtime == "torch"
    monkeypatch.delenv("BCDSEG_RUNTIME")
    model = bcdseg.load(folder)
    assert model.runtime == "openvino"
    assert bcdseg.load(folder, precision="bf16").runtime == "torch"  # OpenVINO's agrees too little
    before = model.predict(SCANS[0]).probabilities["a"]
    with torch.no_grad():
        model.network.class_head.linear.bias += torch.tensor([2.0, 0.0, 0.0])  # type: ignore[union-attr, operator]
    assert model.predict(SCANS[0]).probabilities["a"] > before
    monkeypatch.setattr(choice, "find_spec", lambda module: None if module == "openvino" else module)
    assert bcdseg.load(folder).runtime == "onnxruntime"
    monkeypatch.setattr(choice, "find_spec", lambda module: module if module == "torch" else None)
    assert bcdseg.load(folder).runtime == "torch"


def test_a_model_is_copied_and_pickled_whatever_runs_it(folder: Path) -> None:
    model = bcdseg.load(folder, runtime="openvino")
    model.predict(SCANS[0])
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert _difference(other, model) < 1e-6
        assert other.runtime == "openvino"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, "auto, openvino, onnxruntime, torch, compile"),
        ({"precision": "fp8"}, "auto, fp32, fp16, bf16, int8"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, "onnxruntime's precisions: choose one of fp32, int8"),
        ({"runtime": "openvino", "precision": "int8"}, "calibrate_on"),
        ({"runtime": "openvino", "calibrate_on": SCANS}, "calibrate_on"),
        ({"runtime": "torch", "precision": "int8", "calibrate_on": SCANS}, "torch's"),
    ],
)
def test_errors_of_impossible_options_list_the_possible_ones(folder: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(errors.OptionError, match=message):
        bcdseg.load(folder, **options)  # type: ignore[arg-type]


def test_the_error_of_a_missing_package_names_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(errors.MissingExtraError, match=r"bcdseg\[openvino\]"):
        bcdseg.load(folder, runtime="openvino")


def test_nan_exceeds_a_bound() -> None:
    nowhere = np.full((1, 4, 4), np.nan, np.float32)
    one = agreement.RawOutput(nowhere, np.array([[np.nan, 1]], np.float32))
    assert agreement.EXACT.exceeded(agreement.compare([(one, one)]))
