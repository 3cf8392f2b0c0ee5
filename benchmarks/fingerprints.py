"""Number of differing bits in the fingerprints of copies and of other scans; ``bcdseg.evaluate`` recognises copies by them.

    python benchmarks/fingerprints.py DATA [--native NATIVE] > docs/benchmarks/fingerprints.md

DATA is a data set; one scan of each group of near-duplicates is taken. NATIVE contains some of the same scans, by the same ids, at
another size.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("", "tests")]

from made_twins import KINDS  # noqa: E402

import bcdseg  # noqa: E402
from bcdseg.data.hashing import BITS, NEAR, differing_bits, fingerprint, fingerprint_of  # noqa: E402
from bcdseg.data.images import read_image, to_gray, to_uint8  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set")
    parser.add_argument("--native", type=Path, help="the same scans at another size")
    options = parser.parse_args()
    data = bcdseg.open_dataset(options.data)
    data = data.apply_audit(bcdseg.audit(data), conflicts="keep", duplicates="first")
    known = {one.id: fingerprint(one.image) for one in data}
    print("# Recognition of copies by their fingerprints\n")
    print("The table is the output of `python benchmarks/fingerprints.py DATA --native NATIVE` for BUSI.\n")
    print(f"The {len(data)} scans have no near-duplicates among them. A fingerprint has {BITS} bits; ", end="")
    print(f"two scans are copies if at most {NEAR} bits differ.\n")
    print("| change | copies | differing bits, median | 99th percentile | maximum | recognised |\n|---|---|---|---|---|---|")
    if options.native:
        own = {path.relative_to(options.native).as_posix(): path for path in options.native.rglob("*.png")}
        row("native size", known, {name: fingerprint(own[name]) for name in data.ids if name in own})
    for kind, change in KINDS.items():
        row(kind, known, {one.id: fingerprint_of(change(gray(one.image), random(one.id))) for one in data})
    print(f"\nThe nearest different scan, among {len(data) - 1} others and their mirror images, ", end="")
    print(f"differs in {others(known)} bits or more.")


def row(name: str, known: dict[str, str], copies: dict[str, str]) -> None:
    bits = np.array([differing_bits([copy], [known[one]])[0] for one, copy in copies.items()])
    most = np.quantile(bits, (0.5, 0.99, 1)).round().astype(int)
    print(f"| {name} | {len(bits)} | {' | '.join(map(str, most))} | {(bits <= NEAR).mean():.1%} |", flush=True)


def others(known: dict[str, str]) -> int:
    prints = list(known.values())
    return min(int(differing_bits([one], prints[:at] + prints[at + 1 :])[0]) for at, one in enumerate(prints))


def gray(path: Path) -> NDArray[np.uint8]:
    return to_uint8(to_gray(read_image(path)))


def random(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


if __name__ == "__main__":
    main()
