"""Write busi_split.csv: which part each BUSI scan is in, so that no scan has a twin in another part.

    python training/split_busi.py PATH/TO/busi256 training/busi_split.csv

Scans whose thumbnails agree, mirrored or shifted included, are one group. The threshold is low on purpose: joining
two different scans costs nothing here, parting two copies of one would make every figure a lie.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

SIDE = 64
SAME = 0.4  # from 0.4 to 0.7 the groups hardly change: 474 to 484 of them
PARTS = {"test": 3, "val": 2, "train": 11}  # sixteenths


def spectrum(image: Image.Image) -> np.ndarray:
    values = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    values = values - gaussian_filter(values, 3)  # the layers of tissue look alike in all scans; their texture does not
    return np.fft.rfft2(values / np.linalg.norm(values))


def groups(images: list[Image.Image]) -> np.ndarray:
    """Connected components of 'the best correlation over all small shifts, mirrored or not, is at least SAME'."""
    spectra = np.stack([spectrum(image) for image in images])
    mirrored = np.stack([spectrum(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) for image in images])
    near = np.r_[0:9, SIDE - 8 : SIDE]
    twins = np.zeros((len(images), len(images)), bool)
    for index, one in enumerate(spectra):
        for others in (spectra, mirrored):
            agreement = np.fft.irfft2(one.conj() * others, s=(SIDE, SIDE))[:, near][:, :, near]
            twins[index] |= agreement.max(axis=(1, 2)) >= SAME
    return np.asarray(connected_components(csr_array(twins), directed=False)[1])


def main(folder: Path, out: Path) -> None:
    paths = sorted(path for path in folder.glob("*/*.png") if "_mask" not in path.stem)
    label = np.array([path.parent.name for path in paths])
    group = groups([Image.open(path) for path in paths])
    # A group of two labels is a label conflict: none of its scans is used.
    conflict = np.array([len(set(label[group == of])) > 1 for of in group])
    part = np.full(len(paths), "conflict", dtype=object)
    keep = np.flatnonzero(~conflict)
    sixteenths = StratifiedGroupKFold(16, shuffle=True, random_state=0).split(keep, label[keep], group[keep])
    names = [name for name, count in PARTS.items() for _ in range(count)]
    for name, (_, chosen) in zip(names, sixteenths, strict=True):
        part[keep[chosen]] = name
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "group", "part"])
        writer.writerows(zip((path.relative_to(folder).as_posix() for path in paths), label, group, part, strict=True))
    sizes = np.bincount(group)
    print(f"{len(paths)} scans in {len(sizes)} groups, the largest of {sizes.max()}; {conflict.sum()} in groups of two labels")
    for name in (*PARTS, "conflict"):
        print(name, {c: int(((part == name) & (label == c)).sum()) for c in np.unique(label)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
