"""Recall and precision of the search for near-duplicates, on twins made of real scans, and its time.

    python benchmarks/duplicates.py PATH/TO/SCANS [--scans 150] [--largest 10000] > docs/benchmarks/duplicates.md

Scans of the folder that have a near-duplicate there already are left out first, so that each pair found is either
planted or wrong. For each kind of change every scan gets one twin; recall is the part of the planted pairs that is
found, precision the part of the found pairs that was planted.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("", "tests")]

from made_twins import KINDS, Gray, scan, text_over, twin, write  # noqa: E402

from bcdseg.data.duplicates.search import SAME, find_duplicates  # noqa: E402
from bcdseg.data.images import SUFFIXES, read_image, to_gray, to_uint8  # noqa: E402
from bcdseg.types import Sample  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder with scans, at any depth; files named *_mask* are skipped")
    parser.add_argument("--scans", type=int, default=150, help="number of scans that get twins")
    parser.add_argument("--largest", type=int, default=2500, help="the largest made set that is timed")
    options = parser.parse_args()
    originals = dict(itertools.islice(single_scans(options.folder), options.scans))
    print("# Near-duplicates: recall, precision and time\n")
    print(f"Made by `python benchmarks/duplicates.py DATA --scans {options.scans} --largest {options.largest}`.\n")
    print(f"## Planted twins of {len(originals)} real scans that have no near-duplicate among themselves\n")
    recall_table(originals)
    print("\n## Different scans within the same scanner's text\n")
    shared_text_table(originals)
    print(f"\n## Time, on {os.cpu_count()} cores\n")
    time_table(options.folder, options.largest)


def single_scans(folder: Path) -> Iterator[tuple[str, Gray]]:
    """Yield the scans of a folder in a fixed random order, one of each group of near-duplicates."""
    samples = samples_of(folder)
    seen: set[str] = set()
    group = {name: members for members in find_duplicates(samples, cache=False).groups for name in members}
    for index in np.random.default_rng(0).permutation(len(samples)):
        sample = samples[index]
        if sample.id not in seen:
            seen.update(group.get(sample.id, ()))
            yield sample.id, to_uint8(to_gray(read_image(sample.image)))


def samples_of(folder: Path) -> list[Sample]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and "_mask" not in path.stem)
    return [Sample(id=path.relative_to(folder).as_posix(), image=path) for path in paths]


def recall_table(originals: dict[str, Gray]) -> None:
    random = np.random.default_rng(0)
    pairs = itertools.combinations(KINDS, 2)
    rows = [(kind,) for kind in KINDS] + list(pairs)
    planted_all = found_all = right_all = 0
    lowest: list[float] = []
    print("| change | planted | found | recall | wrong pairs | precision | lowest score |\n|---|---|---|---|---|---|---|")
    for kinds in rows:
        twins = {f"twin/{name}": twin(picture, kinds, random) for name, picture in originals.items()}
        planted = {frozenset((name, f"twin/{name}")) for name in originals}
        with tempfile.TemporaryDirectory() as folder:
            pairs_found = find_duplicates(write(Path(folder), {**originals, **twins}), cache=False).pairs
        found = {frozenset((pair.one, pair.other)): pair.score for pair in pairs_found}
        right = planted & set(found)
        scores = [found[pair] for pair in right]
        lowest += scores
        planted_all, found_all, right_all = planted_all + len(planted), found_all + len(found), right_all + len(right)
        print(
            f"| {' + '.join(kinds)} | {len(planted)} | {len(right)} | {len(right) / len(planted):.1%} | "
            f"{len(found) - len(right)} | {len(right) / max(len(found), 1):.1%} | {min(scores, default=0):.2f} |",
            flush=True,
        )
    print(
        f"| **all** | {planted_all} | {right_all} | {right_all / planted_all:.2%} | {found_all - right_all} | "
        f"{right_all / max(found_all, 1):.2%} | {min(lowest):.2f} |"
    )
    print(f"\nOne twin in a hundred scores below {np.quantile(lowest, 0.01):.2f}; a pair is reported from {SAME} on.")


def shared_text_table(originals: dict[str, Gray]) -> None:
    words = [
        "GENERAL HOSPITAL 2021-03-14",
        "L12-5  MI 1.2  TIS 0.4",
        "FR 24 Hz  GAIN 62 %",
        "DEPTH 4.0 cm",
        "MAP F  DR 65",
        "RT BREAST",
    ]
    print("| lines of text next to the picture | scans | wrong pairs |\n|---|---|---|")
    for times in (1, 3):
        framed = {}
        for name, picture in originals.items():
            height, width = picture.shape
            whole = np.zeros((height + 44, width + 164), np.uint8)
            whole[22:-22, 160:-4] = picture
            framed[f"{name}.png"] = text_over(whole, *words * times)
        with tempfile.TemporaryDirectory() as folder:
            wrong = len(find_duplicates(write(Path(folder), framed), cache=False).pairs)
        print(f"| {len(words) * times} | {len(framed)} | {wrong} |", flush=True)


def time_table(folder: Path, largest: int) -> None:
    print("| set | scans | seconds | processor seconds | the same for 1000 scans |\n|---|---|---|---|---|")
    real = samples_of(folder)
    print(timed("the folder", real), flush=True)
    size = 625
    while size <= largest:
        with tempfile.TemporaryDirectory() as made:
            print(timed("made, one in ten a twin", made_set(Path(made), size)), flush=True)
        size *= 2 if size * 2 <= largest or size == largest else largest / size
        size = round(size)


def timed(name: str, samples: list[Sample]) -> str:
    start, used = time.perf_counter(), time.process_time()
    find_duplicates(samples, cache=False)
    took, used = time.perf_counter() - start, time.process_time() - used
    return f"| {name} | {len(samples)} | {took:.1f} | {used:.1f} | {used / len(samples) * 1000:.1f} |"


def made_set(folder: Path, size: int) -> list[Sample]:
    """Write made scans, every tenth a twin of the one before it, one by one so that the memory stays small."""
    random = np.random.default_rng(0)
    kinds = list(KINDS)
    samples: list[Sample] = []
    picture = scan(0)
    for number in range(size):
        picture = twin(picture, (kinds[number // 10 % len(kinds)],), random) if number % 10 == 9 else scan(number)
        samples += write(folder, {f"{number}.png": picture})
    return samples


if __name__ == "__main__":
    main()
