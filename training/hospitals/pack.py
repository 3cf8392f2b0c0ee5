"""Pack the scans of several hospitals into one file of 8-bit squares, with groups that stay together in every split.

    python training/hospitals/pack.py BUSI_NATIVE BUS_BRA BUS_UCLM PACKED.npz
    python training/hospitals/pack.py BUSI_NATIVE BUS_BRA BUS_UCLM SMALL.npz --side 192      # less than 64 MiB

Each scan keeps its aspect ratio: its longer side fills the square, the rest is black. Copies that carry two labels are left out.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bcdseg
from bcdseg import Dataset, Preprocessing

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
HOSPITALS = ("busi", "bus-bra", "bus-uclm")
CLASSES = ("normal", "benign", "malignant")
SIDE = 256  # pixels
FOLDS = 5


@dataclass(frozen=True)
class Packed:
    """Scans of several hospitals in memory.

    Attributes:
        images: Scans x side x side, 8 bits.
        masks: The same shape, true where there is a lesion.
        boxes: Top, left, bottom and right of each scan in its square.
        labels: Index into ``CLASSES``.
        hospitals: Index into ``HOSPITALS``.
        groups: Patients, or copies of one frame, as numbers that are unique over all hospitals.
        folds: From 0 to ``FOLDS - 1``; a group is in one fold.
        shown: Whether the scan belongs to a group of ``data/sample``.
        ids: Hospital and sample id.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]
    hospitals: NDArray[np.int64]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    shown: NDArray[np.bool_]
    ids: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def side(self) -> int:
        """Height and width of the squares."""
        return int(self.images.shape[-1])

    @classmethod
    def load(cls, path: Path) -> Packed:
        """Read a packed file."""
        with np.load(path, allow_pickle=False) as arrays:
            masks = np.unpackbits(arrays["masks"], axis=-1).astype(bool)
            return cls(**{name: arrays[name] for name in arrays.files if name != "masks"}, masks=masks)

    def save(self, path: Path) -> None:
        """Write one compressed file; masks take one bit per pixel."""
        arrays: dict[str, Any] = {**vars(self), "masks": np.packbits(self.masks, axis=-1)}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)


def open_hospital(name: str, folder: Path) -> tuple[Dataset, list[str]]:
    """Open a data set, join copies into groups, and return it with the problems found."""
    data = bcdseg.open_dataset(folder)
    found = bcdseg.audit(data)
    kept = data.apply_audit(found)
    return kept, [f"{name}: {len(data) - len(kept)} of {len(data)} scans left out, their copies carry another label"]


def pack(folders: dict[str, Path], side: int = SIDE) -> Packed:
    """Read every scan of every hospital once."""
    fit = Preprocessing(size=(side, side), resize="fit", channels=1)
    rows: list[dict[str, Any]] = []
    for number, (name, folder) in enumerate(folders.items()):
        data, notes = open_hospital(name, folder)
        print(*notes, sep="\n", flush=True)
        sample = {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.glob("*/*.png")} if name == "busi" else set()
        shown = {_group(one) for one in data if one.id in sample}
        folds = _folds(data)
        for one in data:
            pixels, mask = data.read(one)
            mask = np.zeros(pixels.shape[:2], bool) if mask is None else mask
            at = fit.placement(pixels.shape[:2])
            box = (at.top, at.left, at.top + at.resized[0], at.left + at.resized[1])
            rows.append(
                {
                    "images": fit.framed(pixels),
                    "masks": fit.framed_mask(mask),
                    "boxes": box,
                    "labels": CLASSES.index(str(one.label)),
                    "hospitals": number,
                    "groups": f"{name} {_group(one)}",
                    "folds": folds[one.id],
                    "shown": _group(one) in shown,
                    "ids": f"{name}/{one.id}",
                }
            )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    columns["groups"] = np.unique(columns["groups"], return_inverse=True)[1]
    return Packed(**columns)


def _folds(data: Dataset) -> dict[str, int]:
    """Return the fold in which each sample is tested."""
    parts = bcdseg.folds(data, FOLDS, duplicates=())
    return {name: number for number, (_, test) in enumerate(parts) for name in test.ids}


def _group(sample: bcdseg.Sample) -> str:
    return sample.group or sample.id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in HOSPITALS:
        parser.add_argument(name.replace("-", "_"), type=Path, help=f"the folder of {name}, at native size")
    parser.add_argument("packed", type=Path, help="the file to write")
    parser.add_argument("--side", type=int, default=SIDE, help="height and width of the squares, a multiple of 8")
    options = parser.parse_args()
    packed = pack({name: getattr(options, name.replace("-", "_")) for name in HOSPITALS}, options.side)
    packed.save(options.packed)
    print(f"{options.packed}: {len(packed)} scans, {options.packed.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
