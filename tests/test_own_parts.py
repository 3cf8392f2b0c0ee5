"""Layouts, runtimes and export formats that users register."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import save, scan
from numpy.typing import NDArray

import bcdseg
from bcdseg import Model, errors, registry

pytestmark = pytest.mark.usefixtures("own_names")


def test_a_registered_layout_is_recognised_before_the_librarys_own(tmp_path: Path) -> None:
    from bcdseg.data.layouts import Layout
    from bcdseg.data.layouts.listing import FolderListing, Listing

    def recognise(listing: Listing) -> bool:
        return all("_" in name for name in listing.images)

    def read(listing: Listing) -> FolderListing:
        samples = [
            bcdseg.Sample(id=name, image=listing.path(name), label=Path(name).stem.partition("_")[0]) for name in listing.images
        ]
        return FolderListing(samples)

    for folder in ("a", "b"):
        for number, label in enumerate(("benign", "malignant")):
            save(tmp_path / folder / f"{label}_{folder}.png", scan(number, label)[0])
    assert set(bcdseg.open_dataset(tmp_path).classes) == {"a", "b"}
    bcdseg.register("layout", "label_number")(Layout("the label in the name", recognise, read))
    for layout in ("auto", "label_number"):
        data = bcdseg.open_dataset(tmp_path, layout)
        assert (data.layout, data.classes) == ("the label in the name", ("benign", "malignant"))


def test_a_registered_runtime_predicts_and_is_refused_where_it_cannot(small_model: Model, scan: NDArray[np.uint8]) -> None:
    pytest.importorskip("onnxscript")
    from bcdseg.runtimes.onnx import OnnxRuntime

    @bcdseg.register("runtime", "mine")
    class Mine(OnnxRuntime):
        name = "mine"
        precisions = ("fp32",)

    expected = small_model.predict(scan).probabilities
    try:
        found = small_model.run_on("mine").predict(scan).probabilities
        assert found == pytest.approx(expected, abs=1e-4)
        with pytest.raises(errors.OptionError, match=r"runtime='mine' runs on cpu with fp32"):
            small_model.run_on("mine", precision="bf16")
        with pytest.raises(errors.OptionError, match=r"runtime='yours' is unknown.*mine"):
            small_model.run_on("yours")
    finally:
        small_model.run_on("torch")


def test_a_registered_export_format_is_written(small_model: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from bcdseg.export.formats import FORMATS

    onnx = FORMATS["onnx"]
    mine = replace(onnx, suffix=".mine", make=lambda *given: {".mine": onnx.make(*given)[".onnx"]})
    bcdseg.register("export_format", "mine")(mine)
    done = small_model.export(tmp_path / "model.mine")
    assert (done.format, done.path.read_bytes()[:1]) == ("mine", b"\x08")
    with pytest.raises(errors.OptionError, match="registered twice"):
        bcdseg.register("export_format", "mine")(onnx)


def test_an_export_of_two_files_that_is_killed_while_it_replaces_another_leaves_no_mixture(
    small_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcdseg.export.formats import Format

    def opened(path: Path, subject: object) -> object:  # noqa: ARG001
        def run(scans: np.ndarray) -> dict[str, np.ndarray]:
            found = small_model.predict(scans[0])
            return {
                "mask_probability": found.mask_probability[None],
                "probabilities": np.array([list(found.probabilities.values())]),
            }

        return run

    def replaced(part: Path, path: Path) -> None:
        if path.suffix == ".two":
            raise KeyboardInterrupt
        part.rename(path)

    pair = Format(suffix=".two", precisions=("fp32",), make=lambda *_: {".one": b"new", ".two": b"new"}, opened=opened)
    bcdseg.register("export_format", "pair")(pair)
    small_model.export(tmp_path / "model.two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"model.one": b"new", "model.two": b"new"}
    monkeypatch.setattr(Path, "replace", replaced)
    with pytest.raises(KeyboardInterrupt):
        small_model.export(tmp_path / "model.two", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.one"]


def test_every_part_of_the_library_is_registered() -> None:
    import bcdseg.data.opening
    import bcdseg.export.formats
    import bcdseg.runtimes.choice  # noqa: F401

    known = {kind: set(one) for kind, one in registry.KINDS.items()}
    assert {"openvino", "onnxruntime", "compile"} <= known["runtime"]
    assert {"onnx", "openvino", "litert", "torch", "monai"} <= known["export_format"]
    assert {"busi", "table", "coco"} <= known["layout"]
    assert known["head"] >= {"guided", "global", "hierarchical"}
    assert known["optimizer"] >= {"adamw", "adam", "sgd"}
    assert known["mask_loss"] >= {"dice_ce", "dice_focal", "tversky", "hausdorff"}
    assert known["class_loss"] >= {"ce", "focal"}
