"""Size, speed and agreement with the model of each format of ``model.export``: format x encoder x precision, on real scans.

    python benchmarks/export.py [--scans FOLDER] [--most 18] [--repeats 10] [--encoders NAME ...] [--formats NAME ...]
                                [--precisions NAME ...]

One row per file: its size, the difference of its predictions from the model's, and milliseconds per scan, from the scan's pixels to
its mask and probabilities. Each file alternates with the model on torch (``model.predict``), and the ratio is the median over
rounds: above 1 the file is faster. Runtimes choose their number of threads; ``taskset -c 0`` before the command sets one core.
A file that was refused has the reason instead. ``busi-lite`` is the bundled model; the encoders have random weights, so their rows
show that the formats can express them, their size and their speed, but not the agreement of a trained network.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import model_of
from numpy.typing import NDArray
from PIL import Image

import bcdseg
from bcdseg.errors import BcdsegError
from bcdseg.export.export import Exported
from bcdseg.export.formats import FORMATS
from bcdseg.export.pipeline import Subject

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
BUNDLED = "busi-lite"
ENCODERS = (BUNDLED, "tu-tf_efficientnet_lite0", "mobilenet_v2", "resnet50", "vgg16_bn")
PRECISIONS = ("fp32", "fp16", "int8")
COLUMNS = (
    "encoder",
    "format",
    "precision",
    "MB",
    "class probability, at most",
    "mask pixels",
    "ms per scan",
    "torch's ms",
    "times torch",
)
Scan = NDArray[np.uint8]


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def timed(model: bcdseg.Model, written: Exported, scan: Scan, repeats: int) -> tuple[float, float, float]:
    """Return milliseconds of the file and of torch, and the median of their ratios."""
    subject = Subject(network=model.network, preprocessing=model.preprocessing, rules=model.rules, name="", card="")
    opened = FORMATS[written.format].opened(written.path, subject)
    ways = (lambda: opened(scan[None]), lambda: model.predict(scan))
    for way in ways:
        way()
    pairs = [(seconds(ways[0]), seconds(ways[1])) for _ in range(repeats)]
    one, other = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    return one, other, statistics.median(torchs / files for files, torchs in pairs)


def row(model: bcdseg.Model, name: str, precision: str, scans: list[Path], repeats: int) -> tuple[str, ...]:
    given: dict[str, Any] = {"calibrate_on": scans} if precision == "int8" else {"check_on": scans}
    with tempfile.TemporaryDirectory() as folder:
        try:
            written = model.export(Path(folder) / f"model{FORMATS[name].suffix}", precision=precision, **given)
        except BcdsegError as reason:
            message = str(reason).rpartition("as the model does: ")[2].replace(folder, "").replace("|", "/")
            return (f"refused: {message[:300]}",)
        scan = np.asarray(Image.open(scans[0]).convert("L"))
        one, other, ratio = timed(model, written, scan, repeats)
    apart = written.difference
    return (
        f"{written.size / 1e6:.1f}",
        f"{apart.probability:.1e}",
        f"{apart.mask:.3%}",
        f"{one:.0f}",
        f"{other:.0f}",
        f"{ratio:.2f}",
    )


def rows(options: argparse.Namespace, scans: list[Path]) -> Iterator[tuple[str, ...]]:
    for encoder in options.encoders:
        model = model_of(encoder)
        for name, precision in product(options.formats, options.precisions):
            if precision in FORMATS[name].precisions:
                yield (encoder, name, precision, *row(model, name, precision, scans, options.repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, default=SAMPLE)
    parser.add_argument("--most", type=int, default=18, help="number of scans for the comparison and for the ranges of int8")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options = parser.parse_args()
    scans = sorted(path for path in options.scans.glob("**/*.png") if "_mask" not in path.stem)
    scans = scans[:: max(1, len(scans) // options.most)]  # some of each folder
    print(f"{len(scans)} scans, torch {torch.__version__} on {torch.get_num_threads()} threads\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"|{'---|' * len(COLUMNS)}")
    for found in rows(options, scans):
        print(f"| {' | '.join([*found, *[''] * (len(COLUMNS) - len(found))])} |", flush=True)


if __name__ == "__main__":
    main()
