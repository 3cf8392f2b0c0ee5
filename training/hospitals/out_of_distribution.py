"""Measure the out-of-distribution score: false alarms at a left-out hospital, and detection of unusual images.

    python training/hospitals/out_of_distribution.py BUSI_NATIVE BUS_BRA BUS_UCLM MIAS150

Each hospital's scans are compared with those of the other two hospitals alone. Photographs and documents come with scikit-image,
whole and as random quarters.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pack import HOSPITALS, open_hospital
from skimage import data

import bcdseg
from bcdseg.data.images import read_image, to_gray, to_uint8
from bcdseg.inference.out_of_distribution import Numbers, check_distribution, describe_images, image_statistics

Gray = NDArray[np.uint8]
PICTURES = ("astronaut", "brick", "camera", "cat", "coffee", "coins", "clock", "grass", "gravel", "moon", "page", "rocket", "text")
SAMPLED = 300  # scans of each hospital that are changed
CHANGES: dict[str, Callable[[Gray], Gray]] = {
    "inverted": lambda gray: 255 - gray,
    "upside down": lambda gray: gray[::-1],
    "turned by 90 degrees": lambda gray: gray.T,
    "dark (an eighth of the brightness)": lambda gray: gray // 8,
    "darker (a sixteenth)": lambda gray: gray // 16,
    "two levels": lambda gray: np.where(gray > 60, np.uint8(255), np.uint8(0)),
    "noise": lambda gray: np.random.default_rng(int(gray[0, 0])).integers(0, 256, gray.shape, np.uint8),
    "mirrored left to right (a usual scan)": lambda gray: gray[:, ::-1],
}


def scans_of(dataset: bcdseg.Dataset) -> list[Gray]:
    """Read the scans of a data set as 8-bit gray."""
    return [to_uint8(to_gray(read_image(sample.image))) for sample in dataset]


def photographs() -> list[Gray]:
    """Return photographs, textures and documents, each whole and as four random quarters."""
    rng, found = np.random.default_rng(0), []
    for name in PICTURES:
        whole = to_uint8(to_gray(read_image(getattr(data, name)())))
        height, width = whole.shape
        corners = zip(rng.integers(0, height // 2, 4), rng.integers(0, width // 2, 4), strict=True)
        found += [whole, *(whole[top : top + height // 2, left : left + width // 2] for top, left in corners)]
    return found


def statistics_of(images: Sequence[Gray]) -> list[Numbers]:
    """Return the statistics of each image."""
    return [image_statistics(np.ascontiguousarray(image)) for image in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in (*HOSPITALS, "mias150"):
        parser.add_argument(name.replace("-", "_"), type=Path, help=f"the folder of {name}")
    options = parser.parse_args()
    scans = [scans_of(open_hospital(name, getattr(options, name.replace("-", "_")))[0]) for name in HOSPITALS]
    usual = [statistics_of(images) for images in scans]
    foreign = {
        "photographs and documents": statistics_of(photographs()),
        "mammograms": statistics_of(scans_of(bcdseg.open_dataset(options.mias150, layout="class_folders"))),
    }
    rows: dict[str, list[str]] = {}
    for left_out, images in enumerate(scans):
        known = describe_images(np.array([one for at, some in enumerate(usual) if at != left_out for one in some]))
        assert known is not None
        some = images[:: max(1, len(images) // SAMPLED)]
        changed = {name: statistics_of([change(image) for image in some]) for name, change in CHANGES.items()}
        for name, numbers in {"usual scans: false alarms": usual[left_out], **changed, **foreign}.items():
            codes = [{flag.code for flag in check_distribution([known], one)[1]} for one in numbers]
            shares = [np.mean([code in each for each in codes]) for code in ("out-of-distribution", "upside-down")]
            either = np.mean([bool(each) for each in codes])
            rows.setdefault(name, []).append(f"{either:.3f} ({shares[0]:.3f}, {shares[1]:.3f})")
    print("| warned of | " + " | ".join(f"{name}, left out" for name in HOSPITALS) + " |")
    print("|---|" + "---|" * len(HOSPITALS))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
