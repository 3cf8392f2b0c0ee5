"""Grad-CAM: its location, and no cost without a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_dicom import content, dicom, region
from numpy.typing import NDArray

import bcdseg


def _brightness_model(resize: str = "stretch") -> bcdseg.Model:
    """Return a model whose deepest features are set to the scan's local brightness, and whose class ``bright`` is their mean."""
    options = {"size": (128, 160), "resize": resize, "no_lesion": None}
    model = bcdseg.create("plain_cnn", classes=["dull", "bright"], decoder=None, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for module in model.network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.zero_()
                module.weight[0, 0] = 1 / 9
        head = model.network.class_head
        head.linear.weight.zero_()  # type: ignore[union-attr, operator]
        head.linear.weight[1, 0] = 1  # type: ignore[union-attr, index]
    return model


@pytest.fixture(scope="module")
def brightness_model() -> bcdseg.Model:
    return _brightness_model()


@given(row=st.integers(20, 200), column=st.integers(20, 300))
def test_it_points_at_what_raised_the_class(brightness_model: bcdseg.Model, row: int, column: int) -> None:
    scan = np.zeros((220, 320), np.uint8)
    scan[row - 12 : row + 12, column - 12 : column + 12] = 255
    found = brightness_model.predict(scan, explain="bright")
    assert found.explained == "bright"
    assert found.heatmap is not None
    assert found.heatmap.shape == scan.shape
    assert found.heatmap.dtype == np.float32
    assert (found.heatmap.min() >= 0, found.heatmap.max()) == (True, 1)
    peak = np.unravel_index(found.heatmap.argmax(), scan.shape)
    cell = 64  # an input pixel of the deepest level is 32, and the scan twice as large as the input
    assert abs(peak[0] - row) <= cell
    assert abs(peak[1] - column) <= cell


def test_it_comes_back_through_padding() -> None:
    scan = np.zeros((100, 300), np.uint8)
    scan[40:60, 240:270] = 255
    heat = _brightness_model("fit").predict(scan, explain="bright").heatmap
    assert heat is not None
    assert heat.shape == scan.shape
    assert heat[:, 200:].sum() > 5 * heat[:, :100].sum()


@pytest.mark.parametrize(
    ("encoder", "decoder", "head"),
    [
        ("plain_cnn", "unet", "guided"),
        ("plain_cnn", None, "global"),
        ("resnet18", "fpn", "global"),
        ("tu-lcnet_050", "unet", "guided"),
    ],
)
def test_it_is_the_published_formula(encoder: str, decoder: str | None, head: str, scan: NDArray[np.uint8]) -> None:
    torch.manual_seed(1)
    model = bcdseg.create(encoder, classes=["a", "b", "c"], decoder=decoder, head=head, size=96)
    expected = _by_hand(model, scan, 1)
    heat = model.predict(scan, explain="b").heatmap
    assert heat is not None
    np.testing.assert_allclose(heat, expected, atol=2e-3)


def _by_hand(model: bcdseg.Model, scan: NDArray[np.uint8], index: int) -> NDArray[np.float32]:
    """Compute Grad-CAM of Selvaraju et al.: the deepest features weighted by mean gradients, without negative values."""
    kept: list[torch.Tensor] = []
    hook = model.network.encoder.register_forward_hook(lambda _module, _inputs, levels: kept.append(levels[-1]))
    prepared = model.preprocessing(scan)
    logits = model.network.eval()(torch.from_numpy(prepared.array[None])).classes
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, index], kept[0])
    coarse = torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True)).detach()
    fine = torch.nn.functional.interpolate(coarse, size=prepared.array.shape[1:], mode="bilinear")[0, 0].numpy()
    over_scan = prepared.placement.restore(fine)
    return over_scan / max(over_scan.max(), 1e-12)


def test_a_stream_is_explained_like_its_scans(small_model: bcdseg.Model) -> None:
    rng = np.random.default_rng(0)
    scans = [rng.integers(0, 255, (60 + 10 * number, 80), np.uint8) for number in range(6)]
    together = list(small_model.predict(scans, explain=True, batch_size=2))
    for scan, found in zip(scans, together, strict=True):
        alone = small_model.predict(scan, explain=True)
        assert found.explained == found.label == alone.label
        np.testing.assert_allclose(found.heatmap, alone.heatmap, atol=1e-4)
        plain = small_model.predict(scan)
        assert plain.heatmap is None
        assert plain.probabilities == pytest.approx(found.probabilities)


def test_options_may_be_numbers_of_numpy(small_model: bcdseg.Model, scan: NDArray[np.uint8]) -> None:
    found = next(small_model.predict([scan], explain=np.True_, batch_size=np.int64(1), frames=np.int64(2)))
    assert found.explained == found.label
    assert small_model.predict(scan, explain=np.False_).heatmap is None
    with pytest.raises(bcdseg.errors.OptionError, match="batch_size=True"):
        small_model.predict(scan, batch_size=True)


def test_it_is_drawn_and_saved(small_model: bcdseg.Model, scan: NDArray[np.uint8], tmp_path: Path) -> None:
    found = small_model.predict(scan, explain=True)
    assert found.heat_overlay().size == (scan.shape[1], scan.shape[0])
    assert {path.name for path in found.save(tmp_path, name="x")} == {"x.json", "x_mask.png", "x_overlay.png", "x_heatmap.png"}
    assert len(found.plot().axes) == 5  # scan, mask probability and its scale, heat map, classes
    with pytest.raises(bcdseg.errors.OptionError, match="explain=True"):
        small_model.predict(scan).heat_overlay()
    with pytest.raises(bcdseg.errors.ImageNotFoundError, match="contains no image"):
        list(small_model.predict(tmp_path / "*_heatmap.png"))


def test_wrong_wishes_are_refused_with_the_choices(small_model: bcdseg.Model, scan: NDArray[np.uint8]) -> None:
    wrong: Any
    for wrong in ("cyst", 0):
        with pytest.raises(bcdseg.errors.OptionError, match="normal, benign, malignant"):
            small_model.predict(scan, explain=wrong)
    with pytest.raises(bcdseg.errors.OptionError, match="only segments"):
        bcdseg.create("plain_cnn", classes=[], head=None, size=32).predict(scan, explain=True)


def test_an_ensemble_points_where_its_members_do(scan: NDArray[np.uint8]) -> None:
    members = [bcdseg.create("plain_cnn", classes=["a", "b"], size=64), _plain_classifier()]
    found = bcdseg.ensemble(members).predict(scan, explain="a").heatmap
    assert found is not None
    each = [member.predict(scan, explain="a").heatmap for member in members]
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(found, mean / max(mean.max(), 1e-12), atol=0.02)  # members' maps are scaled after coming back


def _plain_classifier() -> bcdseg.Model:
    return bcdseg.create("plain_cnn", classes=["a", "b"], decoder=None, size=64)


def test_of_a_dicom_frame_it_lies_on_the_scan_area_alone(brightness_model: bcdseg.Model) -> None:
    frame = np.full((240, 320), 200, np.uint8)  # the machine's user interface is bright, and not part of the network's input
    frame[40:200, 60:300] = 0
    frame[100:140, 200:240] = 255
    scan = brightness_model.predict(content(dicom(frame, region((40, 60, 200, 300)))), explain="bright")
    heat = scan.heatmap
    assert heat is not None
    assert heat.shape == frame.shape
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 90 <= row <= 150
    assert 190 <= column <= 250
    outside = heat.copy()
    outside[40:200, 60:300] = 0
    assert not outside.any()
