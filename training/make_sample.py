"""Choose the sample scans: the first six of each class in the test part of busi_split.csv that exist at native size.

    python training/make_sample.py PATH/TO/busi_native data/sample

They were not seen in training, and they were not picked by how well they come out.
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from pathlib import Path

EACH = 6


def main(native: Path, out: Path) -> None:
    rows = [row for row in csv.DictReader((Path(__file__).parent / "busi_split.csv").open()) if row["part"] == "test"]
    rows.sort(key=lambda row: (row["label"], int(re.findall(r"\d+", row["image"])[0])))
    for label in ("normal", "benign", "malignant"):
        chosen = [row["image"] for row in rows if row["label"] == label and (native / row["image"]).exists()][:EACH]
        for image in chosen:
            for name in (image, image.replace(".png", "_mask.png")):
                target = out / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(native / name, target)
        print(label, len(chosen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
