"""``model.predict`` as a user calls it: one scan, many scans, odd scans."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from bright import Bright, bright_model
from drawn import draw_ellipse, draw_scan
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

import bcdseg
from bcdseg import Failure, Model, Prediction, Rules, errors

PACKAGE = Path(bcdseg.__file__).parent


def _fields(prediction: Prediction) -> object:
    return prediction.to_dict() | {"source": ""}


@given(
    pixels=st.one_of(
        arrays(dtype, st.one_of(sizes, sizes.map(lambda size: (*size, 3)), sizes.map(lambda size: (3, *size))))
        for sizes in [st.tuples(st.integers(16, 80), st.integers(16, 80))]
        for dtype in (np.uint8, np.uint16, np.bool_)
    )
)
def test_any_image_comes_back_with_a_mask_of_its_own_size(small_model: Model, pixels: NDArray[np.generic]) -> None:
    height, width = pixels.shape[1:] if pixels.ndim == 3 and pixels.shape[2] != 3 else pixels.shape[:2]
    scan = small_model.predict(pixels)
    assert scan.mask is not None
    assert scan.mask_probability is not None
    assert scan.mask.shape == scan.mask_probability.shape == scan.size == (height, width)
    assert scan.mask.dtype == np.bool_
    assert 0 <= scan.mask_probability.min() <= scan.mask_probability.max() <= 1
    assert sum(scan.probabilities.values()) == pytest.approx(1)
    assert sum(lesion.area_px for lesion in scan.lesions) == scan.mask.sum()


@pytest.mark.parametrize("resize", ["stretch", "fit", "none"])
@pytest.mark.parametrize("size", [(256, 256), (150, 150)])
def test_a_shape_is_outlined_where_it_is(resize: str, size: tuple[int, int]) -> None:
    truth = draw_ellipse((310, 470), (120, 300), (60, 90), 20)
    scan = bright_model(resize, size).predict(truth.astype(np.uint8) * 220 + 10)
    assert scan.mask is not None
    assert 2 * (scan.mask & truth).sum() / (scan.mask.sum() + truth.sum()) > 0.985
    (lesion,) = scan.lesions
    assert lesion.centroid == pytest.approx((120, 300), abs=1)
    assert lesion.long_axis_px == pytest.approx(180, abs=3)


@pytest.mark.parametrize("offsets", [(), (1.0, -0.2, 0.0)])
def test_temperature_and_class_offsets_are_applied(offsets: tuple[float, ...]) -> None:
    scan = bright_model(rules=Rules(temperature=2.0, class_offsets=offsets)).predict(draw_scan(0))
    powers = np.exp(np.array([0, 3, 1]) / 2 + np.array(offsets or 0))
    expected = powers / powers.sum()
    assert list(scan.probabilities.values()) == pytest.approx(list(expected))
    assert (scan.label, scan.confidence) == ("benign", pytest.approx(expected[1]))


def test_threshold_and_spacing_are_the_callers(small_model: Model, scan: NDArray[np.uint8]) -> None:
    probability = small_model.predict(scan).mask_probability
    assert probability is not None
    middle = float(np.median(probability))
    low, high = (small_model.predict(scan, threshold=value, spacing=0.1) for value in (middle, float(probability.max()) + 1e-3))
    assert low.threshold == middle
    assert low.lesions[0].area_mm2 == pytest.approx(low.lesions[0].area_px * 0.01)
    assert high.lesions == ()
    with pytest.raises(errors.OptionError, match="between 0 and 1"):
        small_model.predict(scan, threshold=1.5)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_a_stream_gives_what_single_scans_give_in_order(small_model: Model, batch_size: int) -> None:
    scans = [draw_scan(seed, (40 + 7 * seed, 90)) for seed in range(8)]
    stream = small_model.predict(iter(scans), batch_size=batch_size)
    for streamed, pixels in zip(stream, scans, strict=True):
        alone = small_model.predict(pixels)
        np.testing.assert_allclose(streamed.mask_probability, alone.mask_probability, atol=1e-5)
        assert streamed.size == pixels.shape


def test_scans_at_their_own_size_are_batched_only_with_their_like(small_model: Model) -> None:
    path = bcdseg.Preprocessing(resize="none", mean=small_model.preprocessing.mean, std=small_model.preprocessing.std)
    model = Model(small_model.network, path)
    shapes = [(64, 64), (64, 64), (96, 64), (64, 64)]
    assert [scan.size for scan in model.predict([draw_scan(0, shape) for shape in shapes], batch_size=4)] == shapes


def test_a_stream_reads_only_a_little_ahead(small_model: Model) -> None:
    taken = 0

    def endless() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        while True:
            taken += 1
            yield draw_scan(0, (32, 32))

    stream = small_model.predict(endless(), batch_size=2)
    for _ in range(5):
        next(stream)
    assert taken < 30
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bcdseg")]


def test_a_folder_with_bad_files(small_model: Model, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        Image.fromarray(draw_scan(number)).save(tmp_path / f"scan ({number}).png")
    (tmp_path / "scan (3).png").write_text("no image")
    kept = list(small_model.predict(tmp_path, on_error="keep"))
    assert [Path(result.source).name for result in kept] == [f"scan ({n}).png" for n in (1, 2, 3, 10)]
    assert [isinstance(result, Failure) for result in kept] == [False, False, True, False]
    with pytest.raises(errors.ImageError, match=r"scan \(3\)"):
        list(small_model.predict(tmp_path))
    with pytest.raises(errors.OptionError, match="'raise', 'keep'"):
        small_model.predict(tmp_path, on_error="ignore")


def test_an_empty_list_is_an_empty_stream(small_model: Model) -> None:
    assert list(small_model.predict([])) == []


def test_threads_share_a_model(small_model: Model) -> None:
    scans = [draw_scan(seed) for seed in range(6)]
    alone = [_fields(small_model.predict(pixels)) for pixels in scans]
    with ThreadPoolExecutor(4) as pool:
        assert [_fields(found) for found in pool.map(small_model.predict, scans * 3)] == alone * 3


def test_predictions_follow_when_the_weights_change(scan: NDArray[np.uint8]) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    before = model.predict(scan).probabilities["a"]
    with torch.no_grad():
        model.network.class_head.linear.bias += torch.tensor([2.0, 0.0])  # type: ignore[union-attr, operator]
    assert model.predict(scan).probabilities["a"] > before
    assert not model.network.class_head.training  # type: ignore[union-attr]


def test_one_head_off(scan: NDArray[np.uint8], tmp_path: Path) -> None:
    outlined = bcdseg.create("plain_cnn", classes=[], head=None, size=32).predict(scan)
    assert (outlined.label, outlined.confidence, outlined.probabilities) == (None, None, {})
    assert outlined.mask is not None
    classified = bcdseg.create("plain_cnn", classes=["a", "b"], decoder=None, size=32).predict(scan)
    assert classified.mask is classified.mask_probability is None
    assert classified.label in ("a", "b")
    for number, found in enumerate((outlined, classified)):
        json.dumps(found.to_dict())
        assert found.save(tmp_path / str(number), name="x")
        assert repr(found)
        assert found._repr_html_()
        found.plot()


def test_the_forward_pass_is_a_few_frames_below_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks: list[list[str]] = []
    forward = Bright.forward

    def recorded(self: Bright, image: torch.Tensor) -> bcdseg.Output:
        stacks.append([frame.name for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(PACKAGE)])
        return forward(self, image)

    monkeypatch.setattr(Bright, "forward", recorded)
    bright_model().predict(draw_scan(0))
    assert len(stacks[-1]) <= 7, stacks[-1]
    assert "postprocess" not in " ".join(stacks[-1])


def test_devices_are_checked() -> None:
    with pytest.raises(errors.OptionError, match="auto, cpu, cuda, mps"):
        bcdseg.create("plain_cnn", classes=["a", "b"], device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(errors.OptionError, match="this machine has none"):
            bcdseg.create("plain_cnn", classes=["a", "b"], device="cuda")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threshold", "abc"),
        ("threshold", [0.5]),
        ("threshold", True),
        ("spacing", True),
        ("spacing", "ab"),
        ("spacing", (0.1, True)),
    ],
)
def test_values_that_are_not_numbers_are_refused(small_model: Model, scan: NDArray[np.uint8], option: str, value: Any) -> None:
    with pytest.raises(errors.OptionError, match=f"{option}="):
        small_model.predict(scan, **{option: value})


def test_tiles_without_their_mode_are_refused(small_model: Model, scan: NDArray[np.uint8]) -> None:
    with pytest.raises(errors.OptionError, match="give mode='tiles'"):
        small_model.predict(scan, tiles=bcdseg.Tiles(scale=0.5))


def test_an_empty_path_is_not_the_current_folder(small_model: Model) -> None:
    with pytest.raises(errors.ImageNotFoundError, match="empty path"):
        small_model.predict("")


def test_a_data_set_is_refused_with_what_to_give(small_model: Model) -> None:
    data = bcdseg.open_dataset(bcdseg.sample_scans())
    table = pandas.DataFrame({"image": [str(sample.image) for sample in data]})
    for source in (data, data[0], table):
        with pytest.raises(errors.OptionError, match=r"sample\.image for sample in data"):
            small_model.predict(source)
    assert [scan.source for scan in small_model.predict(table["image"].to_numpy(object))] == list(table["image"])


def test_a_pattern_without_images_is_an_error_of_the_call(small_model: Model, tmp_path: Path) -> None:
    with pytest.raises(errors.ImageNotFoundError, match=r"scan\*\.png"):
        small_model.predict(str(tmp_path / "scan*.png"), on_error="keep")


def test_a_damaged_clip_is_a_failure_of_its_own(small_model: Model, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "bad.mp4").write_bytes(bytes(1000))
    Image.fromarray(draw_scan(1)).save(tmp_path / "good.png")
    results = list(small_model.predict(tmp_path, on_error="keep"))
    assert [isinstance(result, Failure) for result in results] == [True, False]
    with pytest.raises(errors.ImageError, match=r"bad\.mp4: can't be decoded"):
        list(small_model.predict(tmp_path / "bad.mp4"))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_pages_that_are_not_read_are_reported(small_model: Model, tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray(draw_scan(seed)) for seed in (0, 1)]
    pages[0].save(tmp_path / f"one.{suffix}")
    pages[0].save(tmp_path / f"several.{suffix}", save_all=True, append_images=pages[1:])
    one, several = (small_model.predict(tmp_path / f"{name}.{suffix}").flags for name in ("one", "several"))
    assert {flag.code for flag in several} - {flag.code for flag in one} == {"more-frames"}
