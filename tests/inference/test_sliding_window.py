"""Sliding-window inference: no seams, the right place, the rule of classes, excluded background, huge maps on disk."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from bright import Bright
from drawn import draw_ellipse
from hypothesis import given
from hypothesis import strategies as st
from made_dicom import dicom
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg import Model, Output, Rules, Tiles, errors
from bcdseg.cli import app
from bcdseg.cli.predict_outputs import window_progress
from bcdseg.inference import regions
from bcdseg.inference.sliding_window import Windows, background, cut_axis

CLASSES = ("normal", "benign", "malignant")


class Local(Bright):
    """Network that smooths the input equally everywhere; bright inputs are malignant, dark ones normal."""

    batches: ClassVar[list[int]] = []  # sizes of the batches, of all copies of the network

    def forward(self, image: torch.Tensor) -> Output:
        self.batches.append(len(image))
        smooth = torch.nn.functional.avg_pool2d(image[:, :1], 3, stride=1, padding=1)
        bright = (image > 0.5).float().mean(dim=(1, 2, 3))
        return Output(40 * (smooth - 0.5) + self.anchor, torch.stack([-bright, 0 * bright, bright], dim=1) * 8)


def local_model(resize: str = "stretch", size: tuple[int, int] = (64, 64), **rules: float) -> Model:
    made = bcdseg.create("plain_cnn", classes=CLASSES)
    path = bcdseg.Preprocessing(size=size, resize=resize, mean=(0,), std=(1,))
    return Model(Local(made.network), path, Rules(**rules), name="local")  # type: ignore[arg-type]


def textured(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Return a scan with spots that are some pixels wide."""
    small = np.random.default_rng(seed).integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


@given(st.integers(1, 400), st.sampled_from([32, 64]), st.floats(0, 0.9))
def test_weights_are_one_together_at_each_pixel(length: int, window: int, overlap: float) -> None:
    axis = cut_axis(length, window, overlap)
    total, covered = np.zeros(length), np.zeros(length, int)
    for index, weights in enumerate(axis.weights):
        in_scan, in_window = axis.inside(index)
        total[in_scan] += weights[in_window]
        covered[in_scan] += 1
        assert weights.sum() == pytest.approx(weights[in_window].sum())
    np.testing.assert_allclose(total, 1, atol=1e-6)
    if length > window:
        steps = np.diff(axis.starts)
        assert (axis.starts[0], axis.starts[-1] + window) == (0, length)
        assert steps.max() <= max(1, int(window * (1 - overlap))) + 1


@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("size", [(224, 160), (250, 333)])
def test_there_are_no_seams(size: tuple[int, int], overlap: float) -> None:
    pixels = textured(size)
    model = local_model("none", min_lesion_share=0)  # the smallest component differs
    whole, tiled = model.predict(pixels), model.predict(pixels, mode="tiles", tiles=Tiles(overlap=overlap))
    np.testing.assert_allclose(tiled.mask_probability, whole.mask_probability, atol=1e-5)
    assert (tiled.windows, whole.windows) == (
        len(cut_axis(size[0], 64, overlap).starts) * len(cut_axis(size[1], 64, overlap).starts),
        None,
    )
    np.testing.assert_array_equal(tiled.mask, whole.mask)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37, 1.6])
@pytest.mark.parametrize("pixels_of", ["gray", "colour", "float"])
def test_a_shape_is_outlined_where_it_is_at_any_scale(scale: float, pixels_of: str) -> None:
    truth = draw_ellipse((310, 470), (120, 300), (60, 90), 20)
    pixels: NDArray[Any] = truth.astype(np.uint8) * 220 + 10
    if pixels_of == "colour":
        pixels = np.stack([pixels] * 3, axis=-1)
    elif pixels_of == "float":
        pixels = pixels / np.float32(255)
    scan = local_model().predict(pixels, mode="tiles", tiles=Tiles(scale=scale))
    assert scan.mask is not None
    assert scan.mask.shape == (310, 470)
    assert 2 * (scan.mask & truth).sum() / (scan.mask.sum() + truth.sum()) > 0.985
    (lesion,) = scan.lesions
    assert lesion.centroid == pytest.approx((120, 300), abs=0.6)


def test_windows_of_a_resized_scan_are_those_of_pillow() -> None:
    pixels = textured((301, 207))
    windows = Windows(pixels, local_model().preprocessing, Tiles(scale=0.6))
    resized = np.asarray(Image.fromarray(pixels).resize(windows.size[::-1], Image.Resampling.BILINEAR))
    for place in windows.places:
        (in_scan, in_window) = windows.inside(place)
        np.testing.assert_allclose(windows.cut(place)[0][in_window] * 255, resized[in_scan], atol=1.01)


def test_a_scan_smaller_than_a_window_is_in_its_middle() -> None:
    truth = draw_ellipse((40, 50), (18, 30), (8, 9))
    scan = local_model().predict(truth.astype(np.uint8) * 220, mode="tiles")
    assert scan.windows == 1
    assert scan.lesions[0].centroid == pytest.approx((18, 30), abs=0.6)


def test_classes_are_half_the_whole_and_half_the_windows_by_what_they_outline() -> None:
    pixels = np.full((256, 256), 60, np.uint8)
    pixels[::2] = 61
    pixels[100:116, 100:116] = 250
    model = local_model(min_lesion_share=0.001)
    whole, tiled = model.predict(pixels), model.predict(pixels, mode="tiles", tiles=Tiles(overlap=0))

    def expected_at(fraction: float) -> NDArray[np.float64]:
        powers = np.exp(8 * fraction * np.array([-1, 0, 1]))
        return powers / powers.sum()

    # Windows of 64: the square is in one of them alone, and is a 16th of it; in the whole scan at 64x64 it is a 256th.
    expected = (expected_at(1 / 256) + expected_at(1 / 16)) / 2
    assert list(tiled.probabilities.values()) == pytest.approx(list(expected), abs=1e-3)
    assert list(whole.probabilities.values()) == pytest.approx(list(expected_at(1 / 256)), abs=1e-3)
    nothing = local_model(min_lesion_share=0.1).predict(pixels, mode="tiles")
    assert nothing.lesions == ()
    assert nothing.probabilities == pytest.approx(dict(whole.probabilities))


def test_background_is_not_computed_and_the_inside_of_a_hole_is() -> None:
    pixels = np.zeros((640, 640), np.uint8)
    pixels[64:576, 0:512] = textured((512, 512)) // 2 + 60
    pixels[192:448, 128:384] = 0  # a hole, wider than windows, in the midst
    model = local_model()
    model.predict(pixels)  # runs the network once more, to fold its norms
    Local.batches.clear()
    scan = model.predict(pixels, mode="tiles", tiles=Tiles(overlap=0))
    assert scan.windows == 64
    assert sum(Local.batches) == 64 + 1  # with the whole scan
    assert not scan.mask_probability[:60].any()  # type: ignore[index]
    shows = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]], bool)
    np.testing.assert_array_equal(background(shows), [[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]])
    assert model.predict(np.zeros((300, 300), np.uint8), mode="tiles").windows == 1


def test_auto_takes_windows_above_the_size_of_machines_frames() -> None:
    model = local_model(size=(32, 32))
    sizes = [(40, 2048), (40, 2049), (2100, 60)]
    assert [model.predict(textured(size), mode="auto").windows is None for size in sizes] == [True, False, False]
    assert model.predict(textured((2100, 60))).windows is None


def test_windows_of_several_scans_go_through_the_network_together() -> None:
    model, scans = local_model(), [textured((100, 90), seed) for seed in range(4)]
    alone = [model.predict(pixels, mode="tiles") for pixels in scans]
    Local.batches.clear()
    together = list(model.predict(scans, mode="tiles", batch_size=16))
    assert Local.batches == [16, 4]  # a whole scan and four windows each
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.mask_probability, other.mask_probability, atol=1e-6)
        assert one.probabilities == pytest.approx(dict(other.probabilities))


def test_progress_is_reported_window_by_window() -> None:
    calls: list[tuple[int, int]] = []
    local_model().predict(textured((100, 90)), mode="tiles", tiles=Tiles(progress=lambda *done: calls.append(done)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.fixture
def huge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Treat small maps as huge ones, and return the folder of temporary files."""
    monkeypatch.setattr(regions, "IN_MEMORY", 10_000)
    monkeypatch.setattr(regions, "BAND", 37 * 200)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
def test_huge_maps_are_on_disk_and_leave_nothing_there(huge: Path, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    pixels, tiles = textured((220, 200)), Tiles(scale=scale)
    on_disk = local_model().predict(pixels, mode="tiles", tiles=tiles)
    monkeypatch.setattr(regions, "IN_MEMORY", 10**9)
    in_memory = local_model().predict(pixels, mode="tiles", tiles=tiles)
    assert isinstance(on_disk.mask_probability, np.memmap)
    assert isinstance(on_disk.mask, np.memmap)
    np.testing.assert_allclose(on_disk.mask_probability, in_memory.mask_probability, atol=1e-5)
    np.testing.assert_array_equal(on_disk.mask, in_memory.mask)
    assert [lesion.box for lesion in on_disk.lesions] == [lesion.box for lesion in in_memory.lesions]
    del on_disk
    gc.collect()
    assert not list(huge.iterdir())


def test_a_full_disk_is_an_error(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(huge / "missing"))
    with pytest.raises(errors.OutputError, match="TMPDIR"):
        local_model().predict(textured((220, 200)), mode="tiles")


def test_a_16_bit_mammogram_where_white_is_low(tmp_path: Path) -> None:
    truth = draw_ellipse((700, 560), (300, 250), (70, 40), 30)
    breast = draw_ellipse((700, 560), (350, 0), (330, 420))
    level = np.where(breast, 1000 + 3 * textured((700, 560)).astype(int), 0) + 2200 * truth  # 12 bits of 16
    stored = (4095 - level).astype(np.uint16)
    made = dicom(stored, photometric="MONOCHROME1", Modality="MG", BitsStored=12, HighBit=11, ImagerPixelSpacing=[0.1, 0.1])
    made.save_as(tmp_path / "mammogram.dcm", enforce_file_format=True)
    (scan,) = local_model().predict([tmp_path / "mammogram.dcm"], mode="tiles")
    assert scan.windows is not None
    assert 60 < scan.windows < 140  # of 15 x 12, less those without breast
    assert scan.mask is not None
    assert 2 * (scan.mask & truth).sum() / (scan.mask.sum() + truth.sum()) > 0.97
    assert scan.lesions[0].long_axis_mm == pytest.approx(14, abs=0.3)
    assert (scan.spacing_from, scan.image.dtype) == ("imager pixel spacing", np.float32)
    assert "not-ultrasound" in {flag.code for flag in scan.flags}


def test_several_threads_share_a_model_and_its_windows() -> None:
    model, scans = local_model(), [textured((150, 130), seed) for seed in range(3)]
    alone = [model.predict(pixels, mode="tiles") for pixels in scans]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(lambda one: model.predict(one, mode="tiles"), scans * 3), alone * 3, strict=True):
            np.testing.assert_array_equal(found.mask_probability, expected.mask_probability)
            assert found.to_dict() == expected.to_dict()


def test_errors_of_impossible_options_list_the_possible_ones() -> None:
    model, pixels = local_model(), textured((100, 90))
    with pytest.raises(errors.OptionError, match="'whole', 'tiles', 'auto'"):
        model.predict(pixels, mode="windows")
    for wrong in ({"scale": 0.0}, {"overlap": 1.0}, {"scale": float("nan")}):
        with pytest.raises(errors.OptionError, match="choose"):
            Tiles(**wrong)
    with pytest.raises(errors.OptionError, match=r"overlap='half'.*give a number"):
        Tiles(overlap="half")  # type: ignore[arg-type]
    with pytest.raises(errors.OptionError, match=r"tiles={'overlap': 0.5}: .*Tiles\(overlap=0.5\)"):
        model.predict(pixels, mode="tiles", tiles={"overlap": 0.5})
    classifier = bcdseg.create("plain_cnn", classes=["a", "b"], decoder=None, size=32)
    assert classifier.predict(textured((300, 90)), mode="auto").windows is None
    with pytest.raises(errors.OptionError, match="only classifies"):
        classifier.predict(pixels, mode="tiles")


def test_a_model_that_only_segments() -> None:
    scan = bcdseg.create("plain_cnn", classes=[], head=None, size=32).predict(textured((90, 70)), mode="tiles")
    assert (scan.label, scan.probabilities, scan.windows) == (None, {}, 12)


def test_a_bar_shows_the_windows_of_a_few_scans(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with window_progress(2) as progress:
        assert progress is not None
        progress(3, 4)
    assert "75%" in capsys.readouterr().err
    for scans in (0, 100):
        with window_progress(scans) as progress:
            assert progress is None


def test_the_command_line(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=CLASSES, size=32).save(tmp_path / "small")
    Image.fromarray(textured((90, 70))).save(tmp_path / "scan.png")
    options = ["--model", model, "--mode", "tiles", "--tile-scale", "0.5", "--tile-overlap", "0", "--tta", "flip"]
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "scan.png"), "--format", "json", *map(str, options)])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    assert found["windows"] == 4
    assert found["uncertainty_from"] == "2 views"
    assert set(found["spread"]) == set(CLASSES)
