"""Overhead of the library over its network: importing, one scan, a folder. Ratios of one run, since machines differ and drift.

    python benchmarks/predict.py [--repeats 60] [--model busi-lite] [--only-cold]

The two things compared alternate, A B A B; the table shows the median of the pairwise ratios and its quartiles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from models import model_of
from PIL import Image

import bcdseg

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(one: Callable[[], object], other: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    one(), other()
    pairs = [(seconds(one), seconds(other)) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def row(what: str, ones: list[float], others: list[float], goal: str, *, inverse: bool = False) -> None:
    ratios = [(other / one if inverse else one / other) for one, other in zip(ones, others, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    times = f"{statistics.median(ones) * 1e3:8.1f} {statistics.median(others) * 1e3:8.1f}"
    print(f"| {what} | {times} | {middle:.2f} ({low:.2f} to {high:.2f}) | {goal} |")


def process(code: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def starting(repeats: int) -> None:
    ones, others = compare(process("import bcdseg"), process("pass"), repeats)
    extra = statistics.median(one - other for one, other in zip(ones, others, strict=True))
    print(f"`import bcdseg` costs {extra * 1e3:.0f} ms more than an empty Python (goal: at most 60)")
    ones, _ = compare(process("from bcdseg.cli import app; app(['--help'], standalone_mode=False)"), process("pass"), repeats)
    print(f"`bcdseg --help` takes {statistics.median(ones) * 1e3:.0f} ms (goal: at most 400)")


def cpu_seconds(code: str) -> float:
    """Return the CPU seconds of a new Python process, user and system, which other processes change little."""
    before = os.times()
    process(code)()
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def cold_start(name: str, scan: Path, repeats: int) -> None:
    """Compare `bcdseg predict` in a new process with the import of the network's libraries alone, alternating."""
    print("\n| task in a new process | CPU s | import of torch and smp, CPU s | ratio (quartiles) | goal |\n|---|---|---|---|---|")
    for runtime, goal in (("torch", "at most 1.15"), ("openvino", "at most 0.35"), ("onnxruntime", "at most 0.35")):
        arguments = ["bcdseg", "predict", str(scan), "--model", name, "--runtime", runtime]
        code = f"import sys; sys.argv = {arguments!r}; from bcdseg.cli import main; main()"
        libraries = "import torch, segmentation_models_pytorch"
        cpu_seconds(code), cpu_seconds(libraries)  # the first converts the graph
        pairs = [(cpu_seconds(code), cpu_seconds(libraries)) for _ in range(repeats)]
        low, middle, high = statistics.quantiles([one / other for one, other in pairs], n=4)
        one, other = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"| `predict` on {runtime} | {one:.2f} | {other:.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) | {goal} |", flush=True)


def one_scan(model: bcdseg.Model, pixels: np.ndarray, what: str, repeats: int) -> None:
    runtime = model._current_runtime()
    ready = torch.from_numpy(model.preprocessing(pixels).array[None]).to(memory_format=torch.channels_last)

    def bare() -> object:
        with torch.inference_mode():
            return runtime.module.network(ready)

    row(what, *compare(lambda: model.predict(pixels), bare, repeats), "at most 1.15")


def folder(model: bcdseg.Model, sources: list[Path], what: str, repeats: int) -> None:
    runtime = model._current_runtime()
    ready = torch.from_numpy(model.preprocessing(np.asarray(Image.open(sources[0]).convert("L"))).array[None])
    ready = ready.to(memory_format=torch.channels_last)

    def bare() -> None:
        with torch.inference_mode():
            for _ in sources:
                runtime.module.network(ready)

    def stream() -> None:
        for _ in model.predict(sources):
            pass

    row(what, *compare(stream, bare, repeats), "0.9 or more", inverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--model", default="busi-lite")
    parser.add_argument("--only-cold", action="store_true", help="only what a new process costs")
    options = parser.parse_args()
    scans = sorted(path for path in SAMPLE.glob("*/*.png") if "_mask" not in path.stem)
    cold_start(options.model, scans[0], max(3, options.repeats // 12))
    if options.only_cold:
        return
    model = model_of(options.model)
    native = np.asarray(Image.open(scans[-1]).convert("L"))
    small = np.asarray(Image.fromarray(native).resize((256, 256)))
    print(f"torch {torch.__version__} on {torch.get_num_threads()} threads, {options.model}\n")
    starting(max(5, options.repeats // 4))
    print("\n| what | library ms | bare network ms | ratio (quartiles) | goal |\n|---|---|---|---|---|")
    one_scan(model, small, "`predict` of a 256x256 array, time against bare", options.repeats)
    one_scan(model, native, f"`predict` of a {native.shape[0]}x{native.shape[1]} array, time against bare", options.repeats)
    with tempfile.TemporaryDirectory() as made:
        for number in range(200):
            Image.open(scans[number % len(scans)]).convert("L").resize((256, 256)).save(Path(made) / f"{number}.png")
        files = sorted(Path(made).glob("*.png"))
        folder(model, files, "200 PNGs of 256x256, throughput against bare", max(3, options.repeats // 12))
    folder(model, (scans * 12)[:200], "200 PNGs at native size, throughput against bare", max(3, options.repeats // 12))


if __name__ == "__main__":
    main()
