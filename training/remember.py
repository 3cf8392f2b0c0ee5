"""Let the bundled model remember what it has seen: hashes of the scans of the train and val part of busi_split.csv.

    python training/remember.py BUSI256 BUSI_NATIVE bcdseg/model/weights/busi-lite

The network saw the scans at 256x256; who measures it has them so or at their own size, as BUSI is handed out: both are remembered.
The texts of the card are brought up to date too; the weights stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path

import tomllib

import bcdseg
from bcdseg.evaluation.seen import remember

SPLIT = Path(__file__).parent / "busi_split.csv"
CARD = Path(__file__).parent / "busi_lite_card.toml"
SEEN_PARTS = ("train", "val")


def seen_scans(*folders: Path) -> dict[str, list[str]]:
    """What ``training["seen"]`` holds: the scans that had a say in the model, in each of the folders that has them."""
    with SPLIT.open(newline="") as file:
        seen = {row["image"] for row in csv.DictReader(file) if row["part"] in SEEN_PARTS}
    data = [bcdseg.open_dataset(folder) for folder in folders]
    return remember(*(one.select(seen.intersection(one.ids)) for one in data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    parser.add_argument("native", type=Path, help="the same scans at their own size")
    parser.add_argument("model", type=Path, help="the model's folder")
    options = parser.parse_args()
    weights = options.model / "model.safetensors"
    before = hashlib.sha256(weights.read_bytes()).digest()
    model = bcdseg.load(options.model)
    texts = tomllib.loads(CARD.read_text(encoding="utf-8"))
    model.training = {**model.training, **texts, "seen": seen_scans(options.data, options.native)}
    model.save(options.model, half=True, overwrite=True)
    if hashlib.sha256(weights.read_bytes()).digest() != before:
        raise SystemExit(f"{weights}: was written anew and differs. Take the committed one back.")
    print(f"{len(model.training['seen']['contents'])} pictures remembered")


if __name__ == "__main__":
    main()
