"""Cost of the engine ray over the plain stream, and of a scan in a small archive and in a large one.

    python benchmarks/archive.py [--counts 1000 3000 10000] [--turns 3] [--compared 400]

The scans are 200 drawn ones under as many names as are needed. Each run writes masks, the manifest and the tables, as
`bcdseg predict --no-overlay` does. On Ray the time starts with the first prediction, over the scans that no worker had by then;
the start of Ray and its workers is reported separately. The curve is of a small network that outlines nothing and of scans of
64x64, so that it measures the overhead. CPU time is that of all processes of the run together, and depends less on other programs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

import bcdseg
from bcdseg.batch.archive import TOGETHER, Archive, Workers, connected
from bcdseg.batch.dispatch import TASKS
from bcdseg.batch.run_manifest import Journal, Record
from bcdseg.batch.runner import ClipFolder, OutputFolder, by_file, gather
from bcdseg.batch.worker import WorkerOptions

DRAWN = 200
SIDE, SMALL = 256, 64
NOTHING = {"threshold": 0.999}  # outlines nothing, so that lesions aren't measured


class Spent(NamedTuple):
    """Seconds per scan, its CPU seconds, those of the starting process, and seconds until the first prediction."""

    each: float
    cpu: float
    own: float = 0.0
    first: float = 0.0


class Watch:
    """Record of the times of the first and the last prediction, and of the CPU time of all processes between them."""

    def __call__(self, records: Iterator[Record], total: int) -> Iterator[Record]:
        for number, record in enumerate(records):
            if number == 0:
                self.first, self.cpu = time.perf_counter(), cpu_of_all()
            yield record
            if number == total - 1:
                self.last, self.cpu = time.perf_counter(), cpu_of_all() - self.cpu


def cpu_of_all() -> float:
    """Return the CPU seconds of this process and of all that it has started, by /proc."""
    parents, used = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        parents[int(process.name)], used[int(process.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    tree = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(used.get(pid, 0) for pid in tree) / os.sysconf("SC_CLK_TCK")


def make(folder: Path, count: int, side: int) -> list[Path]:
    """Write images of speckle with a dark ellipse; the later files are further names of the first ones."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    made = []
    for number in range(count):
        path = folder / f"{number}.png"
        if number < DRAWN:
            random = np.random.default_rng(number)
            dark = (rows * random.uniform(3, 6)) ** 2 + (columns * random.uniform(3, 6)) ** 2 <= 1
            pixels = np.clip(random.gamma(4, 25, (side, side)) * np.where(dark, 0.3, 1), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
        else:
            os.link(made[number % DRAWN], path)
        made.append(path)
    return made


def plain(model: bcdseg.Model, files: list[Path], out: Path, options: dict[str, float]) -> Spent:
    journal = Journal(out, {}, resume=False, overwrite=False)
    folder = OutputFolder(out, files, journal, overlay=False)
    clips = ClipFolder(journal, files, kinds=[])
    named = by_file(files)
    journal.write_header()
    start, cpu = time.perf_counter(), time.process_time()
    gather(model.predict(files, on_error="keep", **options), named, journal, folder=folder, clips=clips, classes=model.classes)
    folder.write_tables(list(journal.records(named)), model.classes)
    return Spent((time.perf_counter() - start) / len(files), (time.process_time() - cpu) / len(files))


def on_ray(model: bcdseg.Model, files: list[Path], out: Path, options: dict[str, float], workers: int) -> Spent:
    watch = Watch()
    archive = Archive(out, [str(file) for file in files], Journal(out, {}, resume=False, overwrite=False))
    start, own = time.perf_counter(), time.process_time()
    archive.fill(model, WorkerOptions(predict_options=options, frames=1, masks=True, overlay=False), Workers(count=workers), watch)
    after = len(files) - workers * min(TOGETHER["cpu"], len(files) // (workers * TASKS))
    own = (time.process_time() - own) / len(files)
    return Spent((watch.last - watch.first) / after, watch.cpu / after, own, watch.first - start)


def compare(
    name: str, model: bcdseg.Model, options: dict[str, float], files: list[Path], turns: int, workers: int, out: Path
) -> None:
    found = []
    for turn in range(turns):
        stream = plain(model, files, out / f"plain {turn}", options)
        found.append((stream, on_ray(model, files, out / f"ray {turn}", options, workers)))
    cells = [name, str(len(files))]
    for at, what in ((0, "each"), (0, "cpu"), (1, "each"), (1, "cpu")):
        cells.append(f"{statistics.median(getattr(pair[at], what) for pair in found) * 1e3:.1f}")
    for what in ("each", "cpu"):
        ratios = [getattr(ray, what) / getattr(stream, what) for stream, ray in found]
        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--compared", type=int, default=400)
    options = parser.parse_args()
    torch.manual_seed(0)
    small = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32, decoder_channels=(16, 8, 8, 8, 8))
    bundled = bcdseg.load(device="cpu", runtime="torch")
    workers = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        files, many = make(made / "scans", options.compared, SIDE), make(made / "many", max(options.counts), SMALL)
        start = time.perf_counter()
        with connected(None, workers=workers):
            started = time.perf_counter() - start
            print(f"torch {torch.__version__}, {workers} workers of one thread each; Ray started in {started:.0f} s\n")
            columns = ("network", "scans", "plain, ms per scan", "of CPU", "ray, ms per scan", "of CPU", "ratio", "of CPU")
            print(f"| {' | '.join(columns)} |\n|---|---|---|---|---|---|---|---|")
            compare("busi-lite", bundled, {}, files, options.turns, workers, made / "bundled")
            compare("small", small, NOTHING, files, options.turns, workers, made / "small")
            columns = ("scans", "ms per scan", "of CPU", "of it the first process", "first prediction after, s", "peak memory, MB")
            print(f"\n| {' | '.join(columns)} |\n|---|---|---|---|---|---|")
            for count in options.counts:
                spent = on_ray(small, many[:count], made / str(count), NOTHING, workers)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                times = " | ".join(f"{part * 1e3:.2f}" for part in spent[:3])
                print(f"| {count} | {times} | {spent.first:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
