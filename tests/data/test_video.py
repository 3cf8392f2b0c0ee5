"""Video clips: their frames as scans, in predict and as files of a data set."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from made import busi, save, scan
from made_dicom import dicom
from made_dicom import save as write_dicom

import bcdseg
from bcdseg.data.readers import expand, read_scan
from bcdseg.data.video import open_clip
from bcdseg.errors import DataWarning, ImageError, ImageNotFoundError, MissingExtraError, OptionError, OutputExistsError
from bcdseg.sources import VIDEO_SUFFIXES

cv2 = pytest.importorskip("cv2", reason="extra video is not installed")
FRAMES = 6
CODEC = {".mp4": "mp4v", ".avi": "FFV1", ".mov": "mp4v"}


def frames(colour: bool = False) -> list[np.ndarray]:
    gray = [scan(number)[0] for number in range(FRAMES)]
    return [np.dstack([one, one, np.uint8(255) - one]) if colour else np.dstack([one] * 3) for one in gray]


def clip(path: Path, pictures: list[np.ndarray]) -> Path:
    """Write a clip; its pictures are RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*CODEC[path.suffix]), 10, (width, height))
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_each_frame_of_a_clip_is_a_scan(tmp_path: Path, suffix: str) -> None:
    path = clip(tmp_path / f"clip{suffix}", frames())
    read = [read_scan(source) for source in expand(path)]
    assert [one.frame for one in read] == [1, 2, 3, 4, 5, 6]
    assert [one.source for one in read] == [f"{path}#{number}" for number in range(1, 7)]
    for one, expected in zip(read, frames(), strict=True):
        gray = one.pixels if one.pixels.ndim == 2 else one.pixels.mean(axis=2)
        assert np.abs(gray - expected[..., 0].astype(float)).mean() < 12
    assert [one.frame for one in map(read_scan, expand(path, 4))] == [1, 5]


def test_a_lossless_clip_keeps_its_pixels_and_colours(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.avi", frames(colour=True))
    for one, expected in zip(map(read_scan, expand(path)), frames(colour=True), strict=True):
        np.testing.assert_array_equal(one.pixels, expected)
    path = clip(tmp_path / "gray.avi", frames())
    np.testing.assert_array_equal(read_scan(next(iter(expand(path)))).pixels, frames()[0][..., 0])


def test_frames_are_read_in_any_order(tmp_path: Path) -> None:
    opened = open_clip(clip(tmp_path / "clip.avi", frames()))
    for number in (3, 1, 6, 2):
        np.testing.assert_array_equal(opened.read(number), frames()[number - 1][..., 0])


def test_predict_gives_a_prediction_for_each_frame(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32)
    path = clip(tmp_path / "scans/clip.mp4", frames())
    found = list(model.predict(path, frames=2))
    assert [one.frame for one in found] == [1, 3, 5]
    assert len(list(model.predict(tmp_path / "scans"))) == FRAMES
    assert len(list(model.predict([path, frames()[0]]))) == FRAMES + 1


def test_frames_become_a_data_set_whose_groups_are_the_clips(tmp_path: Path) -> None:
    clip(tmp_path / "clips/a.avi", frames())
    clip(tmp_path / "clips/b.mp4", frames())
    table = bcdseg.extract_frames(tmp_path / "clips", tmp_path / "out", every=2)
    data = bcdseg.open_dataset(table)
    assert [(sample.group, sample.facts["frame"]) for sample in data] == [(one, at) for one in "ab" for at in (1, 3, 5)]
    np.testing.assert_array_equal(data.read(data[1])[0], frames()[2][..., 0])
    with pytest.raises(OutputExistsError):
        bcdseg.extract_frames(tmp_path / "clips", tmp_path / "out")
    assert len(bcdseg.open_dataset(bcdseg.extract_frames(tmp_path / "clips", tmp_path / "out", overwrite=True))) == 12


def test_clips_in_a_folder_of_images_are_named(tmp_path: Path) -> None:
    clip(busi(tmp_path / "scans") / "benign/clip.mp4", frames())
    with pytest.warns(DataWarning, match=r"aren't used: benign/clip\.mp4\. bcdseg\.extract_frames"):
        assert len(bcdseg.open_dataset(tmp_path / "scans")) == 8


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    with pytest.raises(ImageError, match=r"text\.mp4: can't be decoded"):
        read_scan(tmp_path / "text.mp4")
    with pytest.raises(ImageNotFoundError, match="no such file"):
        read_scan(tmp_path / "gone.mp4")
    path = clip(tmp_path / "clip.avi", frames())
    with pytest.raises(ImageError, match=r"is a video clip, not one image.*extract_frames"):
        read_scan(path)
    with pytest.raises(ImageError, match=r"clip\.avi#9: the frame can't be decoded.*states 6 frames.*first 6 can be.*ffmpeg"):
        open_clip(path).read(9)
    dicom_clip = write_dicom(dicom(np.stack([scan(0)[0]] * 3), clip=True), tmp_path / "clip.dcm")
    with pytest.raises(ImageError, match=r"clip\.dcm: is DICOM, not a video file\. model\.predict"):
        bcdseg.extract_frames(dicom_clip, tmp_path / "out")
    with pytest.raises(OptionError, match="every=0"):
        bcdseg.extract_frames(path, tmp_path / "out", every=0)
    with pytest.raises(OptionError, match="have one name"):
        bcdseg.extract_frames([path, path], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OptionError, match=r"no \.mp4"):
        bcdseg.extract_frames(tmp_path / "empty", tmp_path / "out")


def test_an_image_is_not_a_clip(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="its header states no frames, as that of an image"):
        bcdseg.extract_frames(save(tmp_path / "1.png", scan(1)[0]), tmp_path / "frames")


def test_clips_need_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "clip.avi", frames())
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"bcdseg\[video\]"):
        list(expand(path))


def test_a_cut_clip_leaves_no_frames_so_that_the_next_try_can_start(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.avi", frames()).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    (tmp_path / "own").mkdir()
    (tmp_path / "own/notes.txt").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "own"):
        for _ in range(2):
            with pytest.raises(ImageError, match=r"cut\.avi#\d: the frame can't be decoded"):
                bcdseg.extract_frames(cut, folder)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["notes.txt"]
    cut.write_bytes(whole)
    assert len(bcdseg.open_dataset(bcdseg.extract_frames(cut, tmp_path / "own"))) == FRAMES
    assert not list((tmp_path / "own").glob(".*"))


def test_frames_are_not_written_over_other_files(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.avi", frames())
    save(tmp_path / "out/clip_00005.png", scan(1)[0])
    with pytest.raises(OutputExistsError, match=r"clip_00005\.png: exists already"):
        bcdseg.extract_frames(path, tmp_path / "out")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["clip_00005.png"]
