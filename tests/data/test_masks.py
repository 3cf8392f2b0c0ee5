from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import SIZE, save, scan
from PIL import Image
from scipy.ndimage import gaussian_filter

import bcdseg
from bcdseg.data.masks import read_mask
from bcdseg.errors import ImageError

LESION = scan(1)[1]


def palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 90, 20, 160])
    return image


def opaque_where(mask: np.ndarray, background: tuple[int, int, int]) -> Image.Image:
    rgba = np.zeros((*SIZE, 4), np.uint8)
    rgba[..., :3] = np.where(mask[..., None], (200, 0, 0), background)
    rgba[..., 3] = mask * 255
    return Image.fromarray(rgba)


ENCODINGS = {
    "0 and 255": Image.fromarray(LESION.astype(np.uint8) * 255),
    "0 and 1": Image.fromarray(LESION.astype(np.uint8)),
    "one bit": Image.fromarray(LESION),
    "16 bits": Image.fromarray(LESION.astype(np.uint16) * 65535),
    "palette": palette(LESION),
    "green": Image.fromarray((LESION[..., None] * np.array([0, 255, 0])).astype(np.uint8)),
    "dark red": Image.fromarray((LESION[..., None] * np.array([60, 0, 0])).astype(np.uint8)),
    "RGBA, all opaque": Image.fromarray(np.dstack([LESION * 255] * 3 + [np.full(SIZE, 255)]).astype(np.uint8)),
    "RGBA on transparent white": opaque_where(LESION, (255, 255, 255)),
    "RGBA, drawn in transparency only": Image.fromarray(np.dstack([np.zeros((*SIZE, 3)), LESION * 255]).astype(np.uint8)),
    "gray with alpha": Image.fromarray(np.dstack([LESION * 255, np.full(SIZE, 255)]).astype(np.uint8)),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_way_to_draw_a_mask_gives_the_same_mask(tmp_path: Path, encoding: str) -> None:
    ENCODINGS[encoding].save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask([tmp_path / "mask.png"], SIZE), LESION)


def test_a_mask_of_two_classes_keeps_both(tmp_path: Path) -> None:
    values = np.zeros(SIZE, np.uint8)
    values[10:20, 10:20], values[30:40, 30:40] = 1, 2
    save(tmp_path / "mask.png", values)
    np.testing.assert_array_equal(read_mask([tmp_path / "mask.png"], SIZE), values > 0)


def test_jpeg_noise_around_a_lesion_is_not_a_lesion(tmp_path: Path) -> None:
    save(tmp_path / "mask.jpg", LESION, quality=60)
    assert (read_mask([tmp_path / "mask.jpg"], SIZE) ^ LESION).mean() < 0.01


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_black_mask_is_empty(tmp_path: Path, mode: str) -> None:
    Image.new(mode, SIZE[::-1]).save(tmp_path / "mask.png")
    assert not read_mask([tmp_path / "mask.png"], SIZE).any()


def test_an_opaque_black_mask_with_alpha_is_empty(tmp_path: Path) -> None:
    Image.new("RGBA", SIZE[::-1], (0, 0, 0, 255)).save(tmp_path / "mask.png")
    assert not read_mask([tmp_path / "mask.png"], SIZE).any()


@pytest.mark.parametrize(("suffix", "dtype"), [("png", np.uint8), ("webp", np.uint8), ("tif", np.uint8), ("tif", np.int32)])
def test_a_mask_file_of_several_pages_is_refused(tmp_path: Path, suffix: str, dtype: type) -> None:
    pages = [Image.fromarray(scan(seed)[1].astype(dtype)) for seed in (1, 2)]
    pages[0].save(tmp_path / f"mask.{suffix}", save_all=True, append_images=pages[1:], lossless=True)
    with pytest.raises(ImageError, match=rf"mask.{suffix}.*several frames or pages"):
        read_mask([tmp_path / f"mask.{suffix}"], SIZE)


def test_several_masks_are_merged(tmp_path: Path) -> None:
    masks = [scan(seed)[1] for seed in (1, 2, 3)]
    paths = [save(tmp_path / f"{number}.png", mask) for number, mask in enumerate(masks)]
    np.testing.assert_array_equal(read_mask(paths, SIZE), masks[0] | masks[1] | masks[2])


def test_another_size_is_an_error_with_both_sizes_by_default(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png", LESION.repeat(2, axis=0).repeat(2, axis=1))
    with pytest.raises(ImageError, match=r"96x128 pixels, its image 48x64.*resize_masks=True"):
        read_mask([path], SIZE)
    np.testing.assert_array_equal(read_mask([path], SIZE, resize=True), LESION)


@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "32 bits", "array"])
@pytest.mark.parametrize("lesions", [3, 8, 11, 31])
def test_a_mask_with_a_number_for_each_lesion_keeps_all_of_them(tmp_path: Path, kind: str, lesions: int) -> None:
    values = np.zeros(SIZE, np.uint8)
    values[10:20, : lesions * 2 : 2] = 1 + np.arange(lesions)
    if kind == "array":
        np.save(tmp_path / "mask.npy", values.astype(np.int64))
    elif kind == "32 bits":
        Image.fromarray(values.astype(np.int32)).save(tmp_path / "mask.tif")
    else:
        Image.fromarray(values if kind == "8 bits" else values.astype(np.uint16)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask([next(tmp_path.iterdir())], SIZE), values > 0)


@pytest.mark.parametrize("brightest", [20, 31, 32, 255])
@pytest.mark.parametrize("blurred", [1, 5])
def test_a_soft_mask_is_lesion_above_half_of_its_brightest_value(tmp_path: Path, brightest: int, blurred: int) -> None:
    soft = gaussian_filter(LESION.astype(np.float64), blurred)
    values = np.round(soft / soft.max() * brightest).astype(np.uint8)
    expected = values > brightest / 2
    assert (values > 0).sum() > 1.1 * expected.sum()
    np.testing.assert_array_equal(read_mask([save(tmp_path / "mask.png", values)], SIZE), expected)
    data = bcdseg.open_dataset([{"image": scan(1)[0], "mask": values.astype(np.int64)}])
    np.testing.assert_array_equal(data.read(data[0])[1], expected)


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_a_mask_with_nan_or_negative_values_is_refused(tmp_path: Path, value: float) -> None:
    values = LESION.astype(np.float64)
    values[0, :3] = value
    with pytest.raises(ImageError, match="row 0 mask: the mask has 3 pixels below 0 or NaN"):
        bcdseg.open_dataset([{"image": scan(1)[0], "mask": values}])
    np.save(tmp_path / "mask.npy", values)
    with pytest.raises(ImageError, match=r"mask\.npy: the mask has 3 pixels below 0 or NaN"):
        read_mask([tmp_path / "mask.npy"], SIZE)
