"""Errors around a prediction: each is one clear error, and no result is lost or made up."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_scan
from made_tiff import far_strips
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg import Failure, Model, errors
from bcdseg.cli import app
from bcdseg.data.images import read_image, to_uint8
from bcdseg.inference import postprocess
from bcdseg.types import Area


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Panic(BaseException):
    """Exception like those of decoders written in Rust."""


class Panicking(io.BytesIO):
    name = "panicking.png"

    def read(self, _: int | None = -1) -> bytes:
        raise Panic("Secret^Name")


def _closed() -> Image.Image:
    image = Image.new("L", (40, 40))
    image.close()
    return image


ODD = {
    "truncated PIL image": lambda _: Image.open(io.BytesIO(_png(draw_scan(0))[:3000])),
    "closed PIL image": lambda _: _closed(),
    "null byte": lambda _: "a\0b.png",
    "endless name": lambda _: "x" * 5000,
    "below a file": lambda folder: folder / "good.png" / "x.png",
    "link to itself": lambda folder: folder / "self.png",
    "sparse tensor": lambda _: torch.zeros(30, 30).to_sparse(),
    "meta tensor": lambda _: torch.zeros(30, 30, device="meta"),
    "a dictionary": lambda _: {"a.png": 1},
    "text stream": lambda _: io.StringIO("text"),
    "a stream that panics": lambda _: Panicking(),
    "offsets beyond any file": lambda _: far_strips(),
    "a link to a device": lambda folder: folder / "zero.png",
    "a link to a device, as DICOM": lambda folder: folder / "zero.dcm",
    "a pipe": lambda folder: folder / "pipe.png",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_sources_fail_alone_in_a_stream(small_model: Model, tmp_path: Path, kind: str) -> None:
    (tmp_path / "good.png").write_bytes(_png(draw_scan(0)))
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    for name in ("zero.png", "zero.dcm"):
        (tmp_path / name).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    odd = ODD[kind](tmp_path)
    results = list(small_model.predict([tmp_path / "good.png", odd, draw_scan(1)], on_error="keep"))
    assert [isinstance(result, Failure) for result in results] == [False, True, False]


def test_pipes_and_devices_are_refused_by_path_and_read_when_handed_over(small_model: Model, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(errors.ImageError, match=r"pipe\.png: is a pipe, a device or a socket"):
        small_model.predict(tmp_path / "pipe.png")
    reading, writing = os.pipe()
    with open(writing, "wb") as sink, open(reading, "rb") as source:  # noqa: PTH123 - open files, no paths
        sink.write(_png(draw_scan(0, (40, 40))))
        sink.close()
        assert small_model.predict(io.BytesIO(source.read())).size == (40, 40)


@pytest.mark.parametrize("on_error", ["keep", "raise"])
def test_an_unforeseen_exception_is_one_failure_that_names_file_and_class(small_model: Model, on_error: str) -> None:
    stream = small_model.predict([Panicking(), draw_scan(1)], on_error=on_error)
    if on_error == "raise":
        with pytest.raises(errors.ImageError, match="Panic"):
            next(stream)
        return
    failure, prediction = stream
    assert isinstance(failure.error, errors.ImageError)
    assert str(failure.error).startswith("panicking.png: ")
    assert "Panic" in str(failure.error)
    assert isinstance(prediction, bcdseg.Prediction)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_scan_that_can_not_be_measured_fails_alone(small_model: Model, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = postprocess.postprocess_region

    def failing(area: Area, *rest: Any) -> Any:
        if area.box[3] == 41:
            raise Panic
        return measure(area, *rest)

    monkeypatch.setattr(postprocess, "postprocess_region", failing)
    scans = [draw_scan(seed, (40, 40 + (seed == 1))) for seed in range(4)]
    results = list(small_model.predict(scans, on_error="keep", batch_size=batch_size))
    assert [isinstance(result, Failure) for result in results] == [False, True, False, False]
    assert "Panic" in str(results[1].error)
    monkeypatch.undo()
    assert results[2].probabilities == pytest.approx(small_model.predict(scans[2]).probabilities, abs=1e-5)


@pytest.mark.parametrize("spacing", [1e200, 11, 1e-4, 0, -0.1, float("nan"), (0.1, 1e200)])
def test_impossible_spacings_are_refused(small_model: Model, scan: NDArray[np.uint8], spacing: float) -> None:
    with pytest.raises(errors.OptionError, match=r"from 0\.001 to 10"):
        small_model.predict(scan, spacing=spacing)


def test_other_odd_images_are_read() -> None:
    gray = draw_scan(0)
    deep = (gray.astype(np.uint16) << 8) + gray
    buffer = io.BytesIO()
    Image.frombytes("I;16B", (160, 120), deep.astype(">u2").tobytes()).save(buffer, "TIFF")
    for source in (buffer.getvalue(), deep.astype(">u2"), Image.fromarray(gray).convert("LA").convert("La")):
        np.testing.assert_array_equal(to_uint8(read_image(source)), gray)


def test_whole_numbers_of_32_bits_are_not_guessed_at(small_model: Model) -> None:
    with pytest.raises(errors.ImageTypeError, match="ambiguous"):
        small_model.predict(Image.fromarray(draw_scan(0).astype(np.int32)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_is_laid_over_black(mode: str) -> None:
    buffer = io.BytesIO()
    white = 255 if mode == "L" else (255, 255, 255)
    Image.new(mode, (30, 30), white).save(buffer, "PNG", transparency=white)
    assert read_image(buffer.getvalue()).max() == 0


def test_scans_before_the_error_of_a_generator_are_predicted(small_model: Model) -> None:
    def failing() -> Iterator[NDArray[np.uint8]]:
        for seed in range(5):
            yield draw_scan(seed, (40, 40))
        raise LookupError("the archive ended")

    stream = small_model.predict(failing())
    assert [next(stream).size for _ in range(5)] == [(40, 40)] * 5
    with pytest.raises(LookupError, match="the archive ended"):
        next(stream)


def test_streams_side_by_side_leave_torch_unchanged(small_model: Model) -> None:
    def default() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    before = torch.get_num_threads()
    streams = [small_model.predict([draw_scan(seed, (40, 40)) for seed in range(4)]) for _ in range(3)]
    for _ in range(4):
        for stream in streams:
            next(stream)
    for stream in streams:
        list(stream)
    assert torch.get_num_threads() == default() == before


def test_outputs_that_are_not_numbers_are_refused(scan: NDArray[np.uint8]) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    with torch.no_grad():
        model.network.class_head.linear.bias.fill_(torch.nan)  # type: ignore[union-attr, operator]
    with pytest.raises(errors.NotFiniteError, match="NaN"):
        model.predict(scan)


def test_weights_too_large_for_16_bits_are_not_halved(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    with torch.no_grad():
        model.network.class_head.linear.bias.fill_(1e6)  # type: ignore[union-attr, operator]
    with pytest.raises(errors.OptionError, match="16 bits"):
        model.save(tmp_path / "x", half=True)


def test_replaced_layers_are_noticed_and_hidden_writes_after_refresh(scan: NDArray[np.uint8]) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    before = model.predict(scan).probabilities["a"]
    linear = model.network.class_head.linear  # type: ignore[union-attr]
    linear.weight.data.mul_(-40)  # type: ignore[union-attr, operator]
    model.refresh()
    after = model.predict(scan).probabilities["a"]
    assert after != before
    model.network.class_head.linear = torch.nn.Linear(128, 2)  # type: ignore[union-attr]
    assert model.predict(scan).probabilities["a"] not in (before, after)


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("mobilenet_v2", {"decoder": "pan"}),
        ("tu-swin_tiny_patch4_window7_224", {"size": 224}),
        ("mobilenet_v2", {"in_channels": 3, "resize": "fit"}),
    ],
)
def test_networks_that_take_only_some_sizes(encoder: str, options: dict[str, object], scan: NDArray[np.uint8]) -> None:
    assert bcdseg.create(encoder, classes=["a", "b"], **options).predict(scan).size == scan.shape  # type: ignore[arg-type]


def test_half_precision_networks_predict(scan: NDArray[np.uint8]) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    full = model.predict(scan).probabilities["a"]
    model.network.half()
    assert model.predict(scan).probabilities["a"] == pytest.approx(full, abs=0.01)


def test_a_folder_with_other_files_is_never_replaced(small_model: Model, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(errors.OutputExistsError, match="other files"):
        small_model.save(tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    with pytest.raises(errors.OutputExistsError, match="is a file"):
        small_model.save(tmp_path / "precious.txt", overwrite=True)


def test_a_link_to_a_model_is_followed(small_model: Model, tmp_path: Path) -> None:
    small_model.save(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    small_model.save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@pytest.fixture
def saved(small_model: Model, tmp_path: Path) -> str:
    return str(small_model.save(tmp_path / "model"))


def test_a_name_that_is_not_text_keeps_the_tables(saved: str, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "good.png").write_bytes(_png(draw_scan(0)))
    (folder / "bad\udcff.png").write_bytes(_png(draw_scan(1)))
    done = CliRunner().invoke(app, ["predict", str(folder), "--model", saved, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "bad\\udcff.png" in (tmp_path / "out" / "predictions.csv").read_text()


def test_an_output_that_is_a_file_is_reported_in_one_line(saved: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "good.png").write_bytes(_png(draw_scan(0)))
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "good.png"), "--model", saved, "--out", str(tmp_path / "taken")])
    assert isinstance(done.exception, errors.OutputError)
    assert (tmp_path / "taken").read_text() == "mine"


def test_output_names_never_collide_and_outputs_are_not_inputs(saved: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.jpg", "a.png.bmp"):
        Image.fromarray(draw_scan(0)).save(folder / name)
    for _ in range(2):
        done = CliRunner().invoke(app, ["predict", str(folder), "--model", saved, "--out", str(folder), "--overwrite"])
        assert done.exit_code == 0, done.output
    assert len(list(folder.glob("*_mask.png"))) == 3


def test_wrong_usage_makes_no_folder(saved: str, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(_png(draw_scan(0)))
    CliRunner().invoke(
        app, ["predict", str(tmp_path / "good.png"), "--model", saved, "--out", str(tmp_path / "out"), "--threshold", "2"]
    )
    assert not (tmp_path / "out").exists()


def test_dollars_in_names_do_not_break_a_figure(small_model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a_$x^$_b.png"
    path.write_bytes(_png(draw_scan(0)))
    picture = io.BytesIO()
    small_model.predict(path).plot().savefig(picture)
    assert picture.getvalue().startswith(b"\x89PNG")


def test_names_do_not_leave_the_folder(small_model: Model, scan: NDArray[np.uint8], tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="without folders"):
        small_model.predict(scan).save(tmp_path / "results", name="../outside")


def test_numbers_of_numpy_are_numbers(small_model: Model, scan: NDArray[np.uint8], tmp_path: Path) -> None:
    written = small_model.predict(scan, spacing=np.float32(0.1), threshold=np.float32(0.3)).save(tmp_path)  # type: ignore[arg-type]
    assert all(path.stat().st_size for path in written)


@pytest.mark.parametrize("device", ["auto:1", "cpu:x", "gpu"])
def test_odd_devices_are_refused(device: str) -> None:
    with pytest.raises(errors.OptionError, match="choose one of"):
        bcdseg.create("plain_cnn", classes=["a", "b"], device=device)
