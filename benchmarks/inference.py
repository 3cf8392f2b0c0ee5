"""Speed of each runtime for one scan and a folder, end to end, against eager torch in NCHW; and the drift of its predictions.

    python benchmarks/inference.py [--models busi-lite mobilenet_v2 ...] [--scans FOLDER] [--repeats 40] [--device cuda]

There is one table per model: a trained one by its name or folder, or an encoder with random weights, whose drift has no meaning.
The runtimes alternate, A B C A B C, on the same cores; the table shows medians of the ratios within each round. The eager network
is what a plain script runs: not folded, batch x channels x height x width, alone for one scan and in batches of 16 for a folder.
"of peak" is the fraction of the speed of a large product of matrices in 32 bits; half and quarter precision may exceed 100 %.
Drift is measured on scans that int8 did not take its ranges from.

    python benchmarks/inference.py --floor [--models busi-lite] [--scans FOLDER] [--repeats 5]

One table per model shows the cost of each step alone: decoding, preparing, the network, the map at the scan's size, the second pass
that refines the main outline, measuring, and writing mask and overlay; their sum without the writing; and the pipeline from file to
prediction. Milliseconds are CPU time of the process, user and system, so that a busy machine changes them little; ratios are
medians over the rounds.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from models import is_trained, model_of
from PIL import Image

import bcdseg
from bcdseg.comparison.store import gflops
from bcdseg.errors import BcdsegError, RuntimeFallbackWarning
from bcdseg.inference.postprocess import Postprocessing
from bcdseg.inference.predictor import Predictor
from bcdseg.inference.regions import RegionOutput
from bcdseg.inference.writers import pictures_of

STEPS = ("decode", "prepare", "network", "map", "refine", "measure")
SAMPLE = Path(__file__).parents[1] / "data" / "sample"
BATCH = 16
SIDE = 4096  # of the matrices whose product is the machine's peak
WAYS = {
    "cpu": (
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("compile", "fp32"),
        ("compile", "bf16"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ),
    "cuda": (("torch", "fp32"), ("torch", "fp16"), ("compile", "fp32"), ("compile", "fp16")),
}
GOALS = {("cpu", "fp32"): "1.9 / 4.5", ("cpu", "bf16"): "3.3 / 8", ("cpu", "int8"): "5 / 14"}
DRIFT = ("Dice", "same class", "mean dp")


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def settled(run: Callable[[], object]) -> float:
    """Return the time of a second run: by then, threads of the previous library have ended their busy waiting."""
    run()
    return seconds(run)


def alternating(runs: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Return the times of each run, one row per run; the others are compared with the first."""
    for run in runs:
        run()
    turns = [[settled(run) for run in runs] for _ in range(repeats)]
    return [list(times) for times in zip(*turns, strict=True)]


def faster(times: list[float], base: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(base, times, strict=True))


def eager(model: bcdseg.Model, batch: int) -> Callable[[], object]:
    scans = torch.from_numpy(np.stack([model.preprocessing(np.zeros((256, 256), np.uint8)).array] * batch))
    network = copy.deepcopy(model.network).eval().to(model.device)

    def run() -> object:
        with torch.inference_mode():
            return [part.cpu() for part in network(scans.to(model.device)) if part is not None]

    return run


def dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return 1.0 if total == 0 else 2 * int((one & other).sum()) / total


def drift(model: bcdseg.Model, exact: Sequence[bcdseg.Prediction], scans: Sequence[Path]) -> str:
    found = list(model.predict(scans))
    pairs = list(zip(found, exact, strict=True))
    overlap = statistics.fmean(dice(one.mask, other.mask) for one, other in pairs)
    same = statistics.fmean(one.label == other.label for one, other in pairs)
    apart = statistics.fmean(
        abs(one.probabilities[name] - other.probabilities[name]) for one, other in pairs for name in one.probabilities
    )
    return f"{overlap:.4f} | {same:.1%} | {apart:.4f}"


def ready(name: str, device: str, runtime: str, precision: str, calibration: Sequence[Path]) -> bcdseg.Model | None:
    ranges = {"calibrate_on": calibration} if precision == "int8" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeFallbackWarning)
            model = model_of(name, device).run_on(runtime, precision=precision, **ranges)
            model.predict(np.zeros((256, 256), np.uint8))
            return model
    except (BcdsegError, RuntimeFallbackWarning) as reason:
        print(f"{name} on {runtime} in {precision} is left out: {reason}\n")
        return None


def peak(device: str) -> float:
    """Return the gigaflops of a product of large matrices, the best of three."""
    one = torch.ones(SIDE, SIDE, device=device)
    return 2 * SIDE**3 / 1e9 / min(seconds(lambda: (one @ one)[0, 0].item()) for _ in range(3))


def table(name: str, files: Sequence[Path], options: argparse.Namespace) -> None:
    half = len(files) // 2
    calibration, measured = files[: min(100, half)], files[half:][: options.drift]
    device = options.device
    ways = [way for way in WAYS[device] if not (options.skip_int8 and way[1] == "int8")]
    models = {way: model for way in ways if (model := ready(name, device, *way, calibration)) is not None}
    plain = model_of(name, device)
    scan = np.asarray(Image.open(measured[0]).convert("L").resize((256, 256)))
    alone = alternating([eager(plain, 1), *((lambda m=model: m.predict(scan)) for model in models.values())], options.repeats)
    with tempfile.TemporaryDirectory() as made:
        for number in range(options.folder):
            Image.open(files[number % len(files)]).convert("L").resize((256, 256)).save(Path(made) / f"{number}.png")
        sources = sorted(Path(made).glob("*.png"))
        streams = [(lambda m=model: [None for _ in m.predict(sources)]) for model in models.values()]
        many = alternating([eager(plain, BATCH), *streams], max(3, options.repeats // 10))
    many[0] = [each / BATCH * len(sources) for each in many[0]]

    trained, work, most = is_trained(name), gflops(plain), peak(device)
    columns = [
        "runtime",
        "precision",
        "one scan, ms",
        "times eager",
        "of a folder, ms",
        "times eager",
        "of peak",
        "scans a second",
        "goals",
    ]
    columns += DRIFT if trained else ()
    print(f"`{name}`: {work:.2f} GFLOP a scan; peak {most:.0f} GFLOP/s\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    first, each = statistics.median(alone[0]) * 1e3, statistics.median(many[0]) * 1e3 / len(sources)
    share = f"{work / each * 1e3 / most:.0%}"
    print(f"| eager network, NCHW | fp32 | {first:.1f} | 1 | {each:.1f} | 1 | {share} |{' |' * (len(columns) - 7)}")
    exact = list(plain.predict(measured)) if trained else []
    for (way, model), one, folder in zip(models.items(), alone[1:], many[1:], strict=True):
        each = statistics.median(folder) * 1e3 / len(sources)
        cells = [*way, f"{statistics.median(one) * 1e3:.1f}", f"{faster(one, alone[0]):.2f}"]
        cells += [f"{each:.1f}", f"{faster(folder, many[0]):.2f}", f"{work / each * 1e3 / most:.0%}"]
        cells += [f"{len(sources) / statistics.median(folder):.0f}", GOALS.get((device, way[1]), "")]
        cells += [drift(model, exact, measured)] if trained else []
        print(f"| {' | '.join(cells)} |")
    if trained:
        print(f"\nDrift over {len(measured)} scans that int8 took no ranges from ({len(calibration)} others).")
    print(flush=True)


def steps_of(model: bcdseg.Model, files: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """Return each step of a prediction alone, applied to the output of the step before."""
    runtime = model._current_runtime()
    postprocessing = Postprocessing(rules=model.rules, classes=model.classes, no_lesion=model.no_lesion)
    predictor = Predictor(runtime=runtime, preprocessing=model.preprocessing, postprocessing=postprocessing)
    scans = [predictor.read(file) for file in files]
    regions = [predictor.prepare(scan) for scan in scans]
    once = replace(predictor, postprocessing=replace(postprocessing, rules=replace(model.rules, refinement=None)))
    first = once.run(regions)

    def refine() -> list[list[RegionOutput]]:
        outputs = [[*scan] for scan in first]
        if model.rules.refinement is not None:
            predictor._refine(regions, outputs, model.rules.refinement)
        return outputs

    outputs = refine()
    inputs = [region.input(0) for scan in regions for region in scan]
    masks = [runtime([array]).mask for array in inputs]
    placements = [region.prepared.placement for scan in regions for region in scan]
    predictions = [postprocessing(*pair) for pair in zip(scans, outputs, strict=True)]
    return {
        "decode": lambda: [predictor.read(file) for file in files],
        "prepare": lambda: [predictor.prepare(scan) for scan in scans],
        "network": lambda: [runtime([array]) for array in inputs],
        "map": lambda: [at.restore(mask[0]) for at, mask in zip(placements, masks, strict=True) if mask is not None],
        "refine": refine,
        "measure": lambda: [postprocessing(*pair) for pair in zip(scans, outputs, strict=True)],
        "write": lambda: [pictures_of(prediction, "scan", overlay=True) for prediction in predictions],
        "pipeline": lambda: [None for _ in model.predict(files)],
    }


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def floor(name: str, files: Sequence[Path], options: argparse.Namespace) -> None:
    print(f"`{name}`, {len(files)} files, ms of the process per scan:\n")
    for way in WAYS[options.device]:
        if way[1] == "int8" or way[0] == "compile" or (model := ready(name, options.device, *way, ())) is None:
            continue
        steps = steps_of(model, files)
        for run in steps.values():
            run()
        turns = [{step: cpu_seconds(run) for step, run in steps.items()} for _ in range(options.repeats)]
        if way == WAYS[options.device][0]:
            columns = ["runtime", "precision", *STEPS, "sum", "pipeline", "over the sum", "besides the network", "write"]
            print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for turn in turns:
            turn["sum"] = sum(turn[step] for step in STEPS)
            turn["besides"] = turn["pipeline"] - turn["network"] - turn["refine"]
        middle = {step: statistics.median(turn[step] for turn in turns) * 1e3 / len(files) for step in turns[0]}
        over = statistics.median(turn["pipeline"] / turn["sum"] for turn in turns)
        cells = [f"{middle[step]:.1f}" for step in (*STEPS, "sum", "pipeline")]
        cells += [f"{over:.2f}", f"{middle['besides']:.1f}", f"{middle['write']:.1f}"]
        print(f"| {' | '.join((*way, *cells))} |", flush=True)
    print("\nThe pipeline may cost 1.10 times the sum of its steps.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["busi-lite"])
    parser.add_argument("--scans", type=Path, default=SAMPLE)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--folder", type=int, default=64, help="scans in the folder that is timed")
    parser.add_argument("--drift", type=int, default=100, help="scans that drift is measured on")
    parser.add_argument("--device", choices=tuple(WAYS), default="cpu")
    parser.add_argument("--skip-int8", action="store_true")
    parser.add_argument("--floor", action="store_true", help="the cost of each step alone, and of the pipeline")
    options = parser.parse_args()
    files = sorted(path for path in options.scans.glob("**/*.png") if "_mask" not in path.stem)
    np.random.default_rng(0).shuffle(files)  # type: ignore[arg-type]
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__} on {where}\n")
    for name in options.models:
        (floor if options.floor else table)(name, files, options)


if __name__ == "__main__":
    main()
