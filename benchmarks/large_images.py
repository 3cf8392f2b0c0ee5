"""Large scans through windows: time and peak memory against MONAI's SlidingWindowInferer, at the same size, windows and overlap.

    python benchmarks/large_images.py [--model mobilenet_v2] [--height 2048 --width 2560] [--overlap 0.25] [--repeats 3]

The base is MONAI on the eager network in channels-last, batches of 8. Every way does the whole job: mask probabilities at the
scan's own size and the mask from them, the classes of the whole scan and of each window. They alternate, A B C A B C, on the same
cores; the table shows medians of the ratios within each round. CPU seconds are those of all threads, and are more reliable where
other programs run too; then use --threads 1, since waiting threads count as well. Peak memory is the growth of the process's own
(anonymous) memory during a run, each way in a process of its own. How memory grows with the scan is measured with a made network of
one convolution, which needs little memory itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from models import model_of
from PIL import Image

import bcdseg
from bcdseg import Model, Output, Tiles
from bcdseg.errors import BcdsegError, RuntimeFallbackWarning

BATCH = 8
WAYS = (("torch", "fp32"), ("compile", "fp32"), ("compile", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"))
GOALS = {"fp32": "2.3", "bf16": "4.5"}
SIDES = (2000, 4000, 7000, 10_000)


def drawn(height: int, width: int, background: float = 0.0) -> np.ndarray:
    """Draw speckle with dark ellipses; the right part of it may be black."""
    random = np.random.default_rng(0)
    pixels = random.integers(40, 200, (height, width), dtype=np.uint8)
    for row in range(200, height, 500):
        for column in range(200, width, 700):
            pixels[row - 60 : row + 60, column - 90 : column + 90] //= 3
    pixels[:, int(width * (1 - background)) :] = 0
    return pixels


def monai(model: Model, overlap: float) -> Callable[[np.ndarray], object]:
    from monai.inferers import SlidingWindowInferer

    network = model.network.eval().to(memory_format=torch.channels_last)
    frame = model.preprocessing.frame
    inferer = SlidingWindowInferer(frame, sw_batch_size=BATCH, overlap=overlap, mode="gaussian")
    mean, std = model.preprocessing.mean[0], model.preprocessing.std[0]

    def ready(pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std)[None, None]

    def run(pixels: np.ndarray) -> object:
        classes = []

        def window(image: torch.Tensor) -> torch.Tensor:
            found = network(image.to(memory_format=torch.channels_last))
            classes.append(found.classes)
            return found.mask

        with torch.inference_mode():
            probability = torch.sigmoid(inferer(ready(pixels), window))[0, 0].numpy()
            small = np.asarray(Image.fromarray(pixels).resize(frame[::-1], Image.Resampling.BILINEAR))
            classes.append(network(ready(small)).classes)
        return probability, probability >= model.rules.threshold, torch.cat(classes)

    return run


def ours(model: Model, overlap: float) -> Callable[[np.ndarray], bcdseg.Prediction]:
    tiles = Tiles(overlap=overlap)
    return lambda pixels: model.predict(pixels, mode="tiles", tiles=tiles)


class OneConvolution(torch.nn.Module):
    def __init__(self, network: bcdseg.Network) -> None:
        super().__init__()
        self.config, self.stride = network.config, network.stride
        self.convolution = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> Output:
        mask = self.convolution(image) - 9  # nothing is outlined: lesions are the same work for all
        return Output(mask, mask.mean(dim=(2, 3)).repeat(1, 2))


def made() -> Model:
    small = bcdseg.create("plain_cnn", classes=["a", "b"])
    return Model(OneConvolution(small.network), small.preprocessing, device="cpu")  # type: ignore[arg-type]


def way(name: str, model: str, overlap: float) -> Callable[[np.ndarray], object]:
    """Return the prediction by ``monai``, or by a runtime and a precision, such as ``openvino fp32``."""
    if name.startswith("made"):
        return monai(made(), overlap) if name.endswith("monai") else ours(made(), overlap)
    if name == "monai":
        return monai(model_of(model), overlap)
    runtime, precision = name.split()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeFallbackWarning)
        loaded = model_of(model).run_on(runtime, precision=precision)
        loaded.predict(np.zeros(loaded.preprocessing.frame, np.uint8))
    return ours(loaded, overlap)


def anonymous() -> int:
    """Return the bytes of the process's memory that don't belong to a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def peak(run: Callable[[], object]) -> int:
    """Return the peak memory of a run, in bytes above that of the process before."""
    done, samples, before = threading.Event(), [anonymous()], anonymous()

    def watch() -> None:
        while not done.wait(0.002):
            samples.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return max(samples) - before


def measure(name: str, model: str, overlap: float, sizes: list[list[int]]) -> None:
    """Print the peak memory of one way for scans of several sizes as JSON; for a process of its own."""
    run, peaks = way(name, model, overlap), []
    run(drawn(300, 300))
    with tempfile.TemporaryDirectory() as folder:
        for height, width in sizes:
            np.save(Path(folder) / "scan.npy", drawn(height, width))
            pixels = np.load(Path(folder) / "scan.npy", mmap_mode="r")
            peaks.append(peak(lambda: run(pixels)))  # noqa: B023 - called immediately
    print(json.dumps(peaks))


def peaks(name: str, options: argparse.Namespace, sizes: list[list[int]]) -> list[float]:
    """Return the peak memory in MB, measured in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--model", options.model, "--overlap", str(options.overlap)]
    done = subprocess.run([*command, "--measure", name, json.dumps(sizes)], capture_output=True, text=True, check=True)
    return [bytes_ / 1e6 for bytes_ in json.loads(done.stdout.splitlines()[-1])]


def speed(options: argparse.Namespace, ways: list[str], runs: list[Callable[[np.ndarray], object]], background: float) -> None:
    pixels, small = drawn(options.height, options.width, background), drawn(600, 600)
    for run in runs:
        run(small)
    found: dict[int, object] = {}

    def timed(index: int) -> tuple[float, float]:
        start, worked = time.perf_counter(), time.process_time()
        found[index] = runs[index](pixels)
        return time.perf_counter() - start, time.process_time() - worked

    turns = [[timed(index) for index in range(len(runs))] for _ in range(options.repeats)]
    print(f"\n{options.height}x{options.width}, overlap {options.overlap}, {background:.0%} background\n", flush=True)
    print("| way | seconds | times as fast | CPU seconds | times as few | goal | windows |\n|---|---|---|---|---|---|---|")
    for index, name in enumerate(ways):
        both = ""
        for kind in (0, 1):
            spent = statistics.median(turn[index][kind] for turn in turns)
            both += f"| {spent:.2f} | {statistics.median(turn[0][kind] / turn[index][kind] for turn in turns):.2f} "
        result = found[index]
        windows = result.windows if isinstance(result, bcdseg.Prediction) else "all"
        goal = GOALS.get(name.split()[-1], "")
        print(f"| {name} {both}| {goal} | {windows} |", flush=True)


def memory(options: argparse.Namespace, ways: list[str]) -> None:
    print(f"\nPeak memory, {options.height}x{options.width}\n\n| way | MB | of MONAI's |\n|---|---|---|", flush=True)
    used = {}
    for name in ways:
        (used[name],) = peaks(name, options, [[options.height, options.width]])
        print(f"| {name} | {used[name]:.0f} | {used[name] / used['monai']:.2f} |", flush=True)


def growth(options: argparse.Namespace) -> None:
    sizes = [[side, side] for side in SIDES]
    both = [peaks(name, options, sizes) for name in ("made monai", "made ours")]
    print("\nPeak memory with a made network of one convolution, MB\n")
    print("| scan | MONAI | ours | of MONAI's |\n|---|---|---|---|")
    for side, base, own in zip(SIDES, *both, strict=True):
        print(f"| {side}x{side} | {base:.0f} | {own:.0f} | {own / base:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tu-tf_efficientnet_lite0", help="a trained one, or an encoder, with random weights")
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-background", action="store_true")
    parser.add_argument("--skip-growth", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        return measure(options.measure[0], options.model, options.overlap, json.loads(options.measure[1]))
    print(f"{options.model}, torch {torch.__version__} on {torch.get_num_threads()} threads")
    ways, runs = ["monai"], [way("monai", options.model, options.overlap)]
    for name in (" ".join(each) for each in WAYS):
        try:
            runs.append(way(name, options.model, options.overlap))
            ways.append(name)
        except (BcdsegError, RuntimeFallbackWarning) as reason:
            print(f"{name} is left out: {reason}")
    for background in (0.0, 0.5)[: 1 if options.skip_background else 2]:
        speed(options, ways, runs, background)
    memory(options, ways)
    if not options.skip_growth:
        growth(options)
    return None


if __name__ == "__main__":
    main()
