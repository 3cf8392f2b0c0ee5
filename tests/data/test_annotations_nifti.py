from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from made import scan

import bcdseg
from bcdseg.data.annotations.nifti import nifti_spacing
from bcdseg.data.images import read_image
from bcdseg.errors import DatasetError, ImageError


def write(path: Path, values: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)) -> Path:
    """Write a file as nnU-Net does, with SimpleITK."""
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing([*spacing, *[1.0] * (values.ndim - 2)])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_images_are_read_as_simpleitk_reads_them(tmp_path: Path, dtype: type, name: str) -> None:
    pixels, _ = scan(1)
    pixels[0, 0] = 200  # floats above 1 run from 0 to 255
    assert (read_image(write(tmp_path / name, pixels.astype(dtype))) == pixels).all()
    assert (read_image(write(tmp_path / f"deep_{name}", pixels.astype(dtype)[None])) == pixels).all()


def test_a_folder_of_nifti_images_and_masks_opens(tmp_path: Path) -> None:
    pixels, mask = scan(1)
    write(tmp_path / "images/a.nii.gz", pixels)
    write(tmp_path / "masks/a.nii.gz", mask.astype(np.uint16))
    data = bcdseg.open_dataset(tmp_path)
    image, outline = data.read(data[0])
    assert (image == pixels).all()
    assert (outline == mask).all()


def test_masks_next_to_gzipped_images_are_masks_and_not_scans(tmp_path: Path) -> None:
    pixels = np.full((40, 48), 90, np.uint8)
    mask = np.zeros((40, 48), np.uint8)
    mask[10:20, 10:20] = 1
    for folder in ("benign", "malignant"):
        write(tmp_path / folder / "x.nii.gz", pixels)
        write(tmp_path / folder / "x_mask.nii.gz", mask)
    data = bcdseg.open_dataset(tmp_path)
    assert [(one.id, one.label, [path.name for path in one.masks]) for one in data] == [
        ("benign/x.nii.gz", "benign", ["x_mask.nii.gz"]),
        ("malignant/x.nii.gz", "malignant", ["x_mask.nii.gz"]),
    ]
    assert bcdseg.open_dataset(tmp_path, "class_folders").ids == data.ids
    (tmp_path / "scans.csv").write_text("image,label\nbenign/x,cyst\n")
    table = bcdseg.open_dataset(tmp_path / "scans.csv")
    assert [path.name for path in table[0].files] == ["x.nii.gz", "x_mask.nii.gz"]


def test_volumes_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"v\.nii: an array of shape .* is not one two-dimensional image"):
        read_image(write(tmp_path / "v.nii", np.zeros((4, 40, 40), np.uint8)))
    (tmp_path / "b.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(ImageError, match=r"b\.nii\.gz: can't be read as NIfTI"):
        read_image(tmp_path / "b.nii.gz")


def test_the_spacing_of_the_header_counts_unless_it_is_the_default(tmp_path: Path) -> None:
    pixels, _ = scan(1)
    assert nifti_spacing(write(tmp_path / "a.nii", pixels, (0.08, 0.1))) == pytest.approx((0.1, 0.08))
    assert nifti_spacing(write(tmp_path / "b.nii", pixels)) is None
    file = nibabel.Nifti1Image(pixels.T[None], np.diag([1.0, 0.08, 0.1, 1.0]))
    file.header.set_xyzt_units("mm")
    nibabel.save(file, tmp_path / "first_axis.nii")
    assert nifti_spacing(tmp_path / "first_axis.nii") == pytest.approx((0.1, 0.08))
    assert (read_image(tmp_path / "first_axis.nii") == pixels).all()


def test_samples_have_the_spacing_of_the_header(tmp_path: Path) -> None:
    pixels, mask = scan(1)
    write(tmp_path / "images/a.nii.gz", pixels, (0.08, 0.1))
    write(tmp_path / "masks/a.nii.gz", mask.astype(np.uint16))
    (sample,) = bcdseg.open_dataset(tmp_path)
    assert sample.spacing == pytest.approx((0.1, 0.08))


def test_a_damaged_image_of_nnunet_is_named(tmp_path: Path) -> None:
    for case in ("a", "b"):
        write(tmp_path / f"imagesTr/{case}_0000.nii.gz", scan(1)[0])
        write(tmp_path / f"labelsTr/{case}.nii.gz", scan(1)[1].astype(np.uint8))
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "lesion": 1}}')
    (tmp_path / "imagesTr/a_0000.nii.gz").write_bytes(b"no gzip")
    with pytest.raises(DatasetError, match=r"a_0000\.nii\.gz: can't be read as NIfTI"):
        bcdseg.open_dataset(tmp_path)
