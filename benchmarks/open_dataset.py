"""How long opening a large data set takes: it lists the files, and reads none.

    python benchmarks/open_dataset.py [--files 100000]

Makes that many files in a temporary folder (half images, half masks, as BUSI lays them out; of one byte, since none is
read), opens them three times, and prints the seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bcdseg.data.opening import open_dataset


def make(folder: Path, files: int) -> None:
    for label in ("normal", "benign", "malignant"):
        (folder / label).mkdir()
    for number in range(files // 2):
        label = ("normal", "benign", "malignant")[number % 3]
        for ending in ("", "_mask"):
            (folder / label / f"{label} ({number}){ending}.png").write_bytes(b"x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), files)
        for _ in range(3):
            start = time.perf_counter()
            data = open_dataset(name)
            print(f"{files} files, {len(data)} samples: {time.perf_counter() - start:.2f} s")
        table = Path(name) / "all.csv"
        start = time.perf_counter()
        data.to_csv(table)
        print(f"its table written: {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        open_dataset(table)
        print(f"its table opened:  {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
