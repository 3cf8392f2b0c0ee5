"""Time of opening a large data set: it lists the files, and reads none.

    python benchmarks/open_dataset.py [--files 100000]

Makes that many files in a temporary folder (half images, half masks, as BUSI lays them out; of one byte, since none is
read), opens them three times, and prints the seconds and the CPU seconds, which depend less on what else runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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
        table = Path(name) / "all.csv"
        for _ in range(3):
            data = timed(f"{files} files opened", lambda: open_dataset(name))
        print(f"{len(data)} samples")
        timed("table written", lambda: data.to_csv(table))
        timed("table opened", lambda: open_dataset(table))


Result = TypeVar("Result")


def timed(what: str, work: Callable[[], Result]) -> Result:
    start, used = time.perf_counter(), time.process_time()
    result = work()
    print(f"{what}: {time.perf_counter() - start:.2f} s, CPU {time.process_time() - used:.2f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
