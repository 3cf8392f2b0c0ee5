"""DICOM frames of any pixel format are read as a screen would show them, compared with the drawn image or another decoder."""

from __future__ import annotations

import io
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from drawn import draw_scan
from made_dicom import content, dicom, save
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from bcdseg import errors
from bcdseg.data.images import read_image, to_uint8
from bcdseg.dicom.deidentify import read_reference
from bcdseg.dicom.pixels import read_pixels
from bcdseg.dicom.reader import open_dicom

GRAY = draw_scan(3, (48, 64))
COLOUR = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=-1)


def _shipped(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(str(path))


def _ybr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert to YBR_FULL of DICOM (BT.601)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def test_gray_and_rgb_are_taken_as_they_are() -> None:
    np.testing.assert_array_equal(read_image(content(dicom(GRAY))), GRAY)
    np.testing.assert_array_equal(read_image(content(dicom(COLOUR))), COLOUR)


def test_planes_one_after_another() -> None:
    made = dicom(COLOUR, PlanarConfiguration=1, PixelData=np.moveaxis(COLOUR, 2, 0).tobytes())
    np.testing.assert_array_equal(read_image(content(made)), COLOUR)


def test_monochrome1_is_turned_round() -> None:
    np.testing.assert_array_equal(read_image(content(dicom(255 - GRAY, photometric="MONOCHROME1"))), GRAY)


def test_ybr_full_becomes_rgb() -> None:
    read = read_image(content(dicom(_ybr(COLOUR), photometric="YBR_FULL")))
    assert np.abs(read.astype(int) - COLOUR).max() <= 3


def test_ybr_full_422_becomes_rgb() -> None:
    flat = np.repeat(np.repeat(COLOUR[:8, :8], 6, 0), 8, 1)  # neighbours alike, so that halving the colour loses nothing
    ybr = _ybr(flat).reshape(-1, 2, 3)
    stored = np.stack([ybr[:, 0, 0], ybr[:, 1, 0], ybr[:, 0, 1], ybr[:, 0, 2]], axis=1)
    made = dicom(flat, photometric="YBR_FULL_422", PixelData=stored.tobytes())
    assert np.abs(read_image(content(made)).astype(int) - flat).max() <= 3
    misnamed = dicom(_ybr(flat), photometric="YBR_FULL_422")
    assert np.abs(read_image(misnamed).astype(int) - flat).max() <= 3
    assert misnamed.PhotometricInterpretation == "YBR_FULL_422"
    assert np.abs(read_image(content(misnamed)).astype(int) - flat).max() <= 3


def test_colours_in_an_arrangement_that_can_not_be_or_is_not_stated_are_refused() -> None:
    halved = dicom(COLOUR, photometric="YBR_FULL_422", PlanarConfiguration=1, PixelData=COLOUR.tobytes()[: GRAY.size * 2])
    with pytest.raises(errors.ImageError, match="YBR_FULL_422 in separate planes"):
        read_image(content(halved))
    unstated = dicom(COLOUR)
    del unstated.PlanarConfiguration
    with pytest.raises(errors.ImageError, match="PlanarConfiguration, 0 or 1"):
        read_image(content(unstated))
    unstated.PlanarConfiguration = 0
    unstated.compress(JPEGLSLossless, generate_instance_uid=False)
    del unstated.PlanarConfiguration  # a compressed frame states it itself
    np.testing.assert_array_equal(read_image(content(unstated)), COLOUR)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_colour_becomes_rgb(bits: int) -> None:
    made = dicom(GRAY, photometric="PALETTE COLOR")
    for name, plane in (("Red", lambda v: v), ("Green", lambda v: v // 2), ("Blue", lambda v: 255 - v)):
        entries = plane(np.arange(256)).astype(np.uint16)
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", (entries * 257 if bits == 16 else entries).astype("<u2").tobytes())
    np.testing.assert_array_equal(read_image(content(made)), COLOUR)


def test_a_dark_frame_of_a_palette_with_sixteen_bits_is_dark() -> None:
    made = dicom(GRAY % 200, photometric="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        entries = np.where(np.arange(256) < 200, np.arange(256), 65535).astype("<u2")
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", entries.tobytes())
    assert not read_image(content(made)).any()


def test_twelve_bits_in_sixteen_go_through_the_window() -> None:
    deep = GRAY.astype(np.uint16) * 8 + 1000
    made = dicom(deep, BitsStored=12, HighBit=11, WindowCenter=1000 + 4 * 255, WindowWidth=8 * 255, VOILUTFunction="LINEAR_EXACT")
    read = read_image(content(made))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, GRAY / 255, atol=1e-3)


def test_signed_values_rescaled_and_windowed() -> None:
    made = dicom(GRAY.astype(np.int16) * 4 - 500, RescaleSlope="0.5", RescaleIntercept="250", WindowCenter=["255", "9"])
    made.WindowWidth, made.VOILUTFunction = ["510", "9"], "LINEAR_EXACT"  # 0.5 (4 g - 500) + 250 = 2 g
    np.testing.assert_allclose(read_image(content(made)), GRAY / 255, atol=1e-3)


def test_the_identity_window_of_eight_bits_changes_nothing() -> None:
    np.testing.assert_array_equal(read_image(content(dicom(GRAY, WindowCenter=128, WindowWidth=256))), GRAY)


def test_a_table_of_values_of_interest() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], (np.arange(256)[::-1] * 257).astype("<u2").tobytes()
    made = dicom(GRAY, VOILUTSequence=[table], WindowCenter=1, WindowWidth=1)
    np.testing.assert_array_equal(read_image(content(made)), 255 - GRAY)


def test_a_sigmoid_window_rises_from_dark_to_bright() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    read = read_image(content(dicom(ramp, WindowCenter=128, WindowWidth=64, VOILUTFunction="SIGMOID")))
    expected = 255 / (1 + np.exp(-4 * (ramp.astype(float) - 128) / 64))
    assert np.abs(read - expected).max() <= 1


def _group(center: float, width: float, slope: str | None = None) -> Dataset:
    window, group = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = center, width, "LINEAR_EXACT"
    group.FrameVOILUTSequence = [window]
    if slope:
        transformation = Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept, transformation.RescaleType = slope, "0", "US"
        group.PixelValueTransformationSequence = [transformation]
    return group


def test_enhanced_files_define_the_display_of_all_frames_or_each() -> None:
    frames = np.stack([GRAY.astype(np.uint16) * 4] * 3)
    shared, half, other, silent = _group(510, 1020), _group(510, 1020, slope="0.5"), _group(1020, 2040), Dataset()
    silent.FrameContentSequence = [Dataset()]
    silent.FrameContentSequence[0].FrameAcquisitionDateTime = "20240517101500"
    made = dicom(frames, clip=True, WindowCenter=1, WindowWidth=1, SharedFunctionalGroupsSequence=[shared])
    made.PerFrameFunctionalGroupsSequence = [half, other, silent]
    image = open_dicom(content(made), "clip")
    assert "20240517" not in str(image.header)
    for index, share in ((0, 0.5), (1, 0.5), (2, 1.0)):
        np.testing.assert_allclose(read_pixels(image, index), share * GRAY / 255, atol=1e-3)
    read_pixels(open_dicom(made, "clip"), 2)
    assert made.PerFrameFunctionalGroupsSequence[2].FrameContentSequence  # the user's own stays as it is


def test_a_deflated_file_is_read_as_any_other(tmp_path: Path) -> None:
    clip = np.stack([GRAY // 64, GRAY // 128])
    made = dicom(clip, clip=True)
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(made, tmp_path / "deflated.dcm")
    assert path.stat().st_size < clip.nbytes
    for source in (path, path.read_bytes()):
        image = open_dicom(source, "deflated")
        assert [read_pixels(image, index).tolist() for index in range(2)] == clip.tolist()
    assert read_reference(path, identity="pacs").PatientName == made.PatientName


def test_deep_pixels_without_a_window_are_spread_and_padding_is_black() -> None:
    deep = GRAY.astype(np.uint16) * 10 + 100
    deep[:4] = 65535
    read = read_image(content(dicom(deep, PixelPaddingValue=65535)))
    assert (read[:4] == 0).all()
    low, high = GRAY[4:].min(), GRAY[4:].max()
    np.testing.assert_allclose(read[4:], (GRAY[4:] - low) / (high - low), atol=1e-3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("pixels", [GRAY, COLOUR, GRAY.astype(np.uint16) * 257], ids=["gray", "colour", "16 bit"])
def test_lossless_compression_loses_nothing(syntax: pydicom.uid.UID, pixels: NDArray[np.generic]) -> None:
    made = dicom(pixels)
    made.compress(syntax, encoding_plugin="", generate_instance_uid=False)
    plain = read_image(content(dicom(pixels)))
    np.testing.assert_allclose(read_image(content(made)), plain)


def test_jpeg_as_pillow_decodes_it() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "JPEG", quality=90, subsampling=0)
    made = dicom(COLOUR, photometric="YBR_FULL", PixelData=encapsulate([buffer.getvalue()]))
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made["PixelData"].is_undefined_length = True
    expected = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    assert np.abs(read_image(content(made)).astype(int) - expected).max() <= 3


@pytest.mark.parametrize("name", ["examples_rgb_color.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm", "ExplVR_BigEnd.dcm"])
def test_the_ultrasound_files_that_pydicom_ships(name: str) -> None:
    path = _shipped(name)
    read = read_image(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of the oddities of its own files
        dataset = pydicom.dcmread(path)
        expected = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            expected = pydicom.pixels.apply_color_lut(expected, dataset) >> 8
    np.testing.assert_array_equal(read, expected)


def test_bytes_open_files_and_data_sets_are_the_same(tmp_path: Path) -> None:
    made = dicom(GRAY)
    path = save(made, tmp_path / "scan")  # without a suffix, the content decides
    with path.open("rb") as file:
        for source in (path, path.read_bytes(), file, made, pydicom.dcmread(path)):
            np.testing.assert_array_equal(to_uint8(read_image(source)), GRAY)


def test_a_file_without_the_mark_is_known_by_its_suffix(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    made = dicom(GRAY)
    pydicom.dcmwrite(buffer, made, implicit_vr=False, little_endian=True, enforce_file_format=False)
    (tmp_path / "old.dcm").write_bytes(buffer.getvalue()[132:])
    np.testing.assert_array_equal(read_image(tmp_path / "old.dcm"), GRAY)


def test_frames_in_several_pieces_and_without_a_table_of_offsets() -> None:
    clip = np.stack([np.roll(GRAY, 5 * step, axis=1) for step in range(4)])
    made = dicom(clip, clip=True)
    made.compress(JPEG2000Lossless, encoding_plugin="", generate_instance_uid=False)
    frames = list(generate_frames(made.PixelData, number_of_frames=4))
    for pieces, table in ((1, True), (1, False), (3, True), (3, False)):
        made.PixelData = encapsulate(frames, fragments_per_frame=pieces, has_bot=table)
        for source in (content(made), made):
            image = open_dicom(source, "clip")
            assert len(image.frames) == 4
            for number in (0, 3):
                np.testing.assert_array_equal(read_pixels(image, number), clip[number])


def test_a_clip_is_not_a_single_image(tmp_path: Path) -> None:
    path = save(dicom(np.stack([GRAY] * 3), clip=True), tmp_path / "clip.dcm")
    with pytest.raises(errors.ImageError, match="clip of 3 frames"):
        read_image(path)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = content(dicom(GRAY))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'bcdseg\[dicom\]'"):
        read_image(scan)


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_threads_read_frames_of_one_clip_side_by_side(syntax: pydicom.uid.UID | None) -> None:
    clip = np.stack([np.full((64, 64), number, np.uint8) for number in range(200)])
    made = dicom(clip, clip=True)
    if syntax:
        made.compress(syntax, encoding_plugin="", generate_instance_uid=False)
    image = open_dicom(made, "clip")
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda number: read_pixels(image, number), range(200)))
    np.testing.assert_array_equal(read, clip)
    assert "PixelData" not in image.header
