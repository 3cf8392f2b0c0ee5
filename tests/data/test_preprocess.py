"""A known shape is resized to the network's size and back to its original position."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan
from hypothesis import given
from hypothesis import strategies as st

from bcdseg import Preprocessing, errors


@given(
    height=st.integers(16, 300),
    width=st.integers(16, 300),
    size=st.tuples(st.integers(100, 200), st.integers(100, 200)),
    resize=st.sampled_from(["stretch", "fit", "none"]),
)
def test_what_goes_in_comes_back_at_its_own_size(height: int, width: int, size: tuple[int, int], resize: str) -> None:
    path = Preprocessing(size=size, resize=resize, mean=(0,), std=(1,))
    array, placement = path(draw_scan(0, (height, width)))
    assert array.shape[1] % 32 == array.shape[2] % 32 == 0
    assert placement.restore(array[0]).shape == (height, width)


@pytest.mark.parametrize("resize", ["stretch", "fit", "none"])
@pytest.mark.parametrize("size", [(256, 256), (150, 150), (192, 320), (417, 233)])
@pytest.mark.parametrize("shape", [(256, 256), (150, 150), (471, 562), (719, 190), (97, 1048)])
def test_a_shape_is_restored_at_its_position(resize: str, size: tuple[int, int], shape: tuple[int, int]) -> None:
    truth = draw_ellipse(shape, (shape[0] * 0.4, shape[1] * 0.6), (shape[0] * 0.2, shape[1] * 0.15))
    path = Preprocessing(size=size, resize=resize, mean=(0,), std=(1,))
    array, placement = path(truth.astype(np.uint8) * 255)
    back = placement.restore(array[0]) >= 0.5
    pixel = max(1, *(side / (resized) for side, resized in zip(shape, placement.resized, strict=True)))  # one network pixel
    assert np.abs(_middle(back) - _middle(truth)).max() <= 0.1 * pixel
    assert abs(back.sum() / truth.sum() - 1) <= 0.05 * pixel


def test_no_resize_and_no_padding_changes_nothing() -> None:
    scan = draw_scan(0, (64, 96))
    array, placement = Preprocessing(size=(64, 96), mean=(0,), std=(1,))(scan)
    np.testing.assert_array_equal(array[0], scan.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(placement.restore(array[0]), array[0])


def test_padding_is_black_and_normalised_like_black() -> None:
    array, placement = Preprocessing(size=(150, 150), mean=(0.3,), std=(0.2,))(np.full((150, 150), 255, np.uint8))
    assert array.shape == (1, 160, 160)
    assert (placement.top, placement.left) == (5, 5)
    np.testing.assert_allclose(array[0, 0, 0], -0.3 / 0.2)


def test_fit_keeps_the_aspect_ratio() -> None:
    _, placement = Preprocessing(size=(256, 256), resize="fit")(draw_scan(0, (100, 200)))
    assert placement.resized == (128, 256)
    assert (placement.top, placement.left) == (64, 0)


def test_gray_and_colour_channels() -> None:
    gray = draw_scan(0)
    three = Preprocessing(channels=3, mean=(0.1, 0.2, 0.3), std=(1, 1, 1), size=(64, 64))
    array = three(gray).array
    np.testing.assert_allclose(array[0] + 0.1, array[2] + 0.3, atol=1e-6)
    colour = np.stack([gray, gray // 2, gray // 3], axis=-1)
    array = three(colour).array
    assert (array[0].mean() + 0.1) > (array[2].mean() + 0.3) * 2.5


def test_depth_does_not_matter() -> None:
    scan = draw_scan(3)
    path = Preprocessing(size=(64, 64))
    deep = path(scan.astype(np.float32) / 255).array
    np.testing.assert_allclose(path(scan).array, deep, atol=1.5 / 255 / 0.5)


def test_it_survives_json() -> None:
    path = Preprocessing(size=(150, 200), resize="fit", channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    assert Preprocessing.from_dict(json.loads(json.dumps(asdict(path)))) == path


@pytest.mark.parametrize(
    "options",
    [{"resize": "crop"}, {"size": (8, 8)}, {"channels": 2}, {"channels": 3}, {"std": (0.0,)}],
    ids=lambda options: str(options),
)
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(errors.OptionError):
        Preprocessing(**options)  # type: ignore[arg-type]


def _middle(mask: np.ndarray) -> np.ndarray:
    return np.array([axis.mean() for axis in np.nonzero(mask)])
