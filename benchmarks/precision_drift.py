"""Changes of a trained model's predictions by half and quarter precision, on scans that it was not trained on, and time saved.

    python benchmarks/precision_drift.py DATA [DATA ...] [--model bus-multi] [--scans 200] [--ranges 100]

int8 takes its ranges from scans of the data sets that the model was trained on; all figures are of scans that it has not seen.
Dice is between the masks of torch in 32 bits and of the other runtime. The changes of the Dice with the truth and of the AUC are of
the same scans, with 95 % bootstrap intervals. A flip is another predicted class. "within" shows whether the bounds that
`runtime="auto"` requires are kept (Dice 0.995, 99 % equal classes, probabilities within 0.02). CPU milliseconds per scan are of the
prediction from pixels, medians over rounds in which all runtimes take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from models import model_of
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import bcdseg
from bcdseg.errors import BcdsegError, RuntimeFallbackWarning
from bcdseg.model.runtime_agreement import drop_maps, measure

WAYS = (("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"), ("onnxruntime", "int8"))
TIMED, ROUNDS, DRAWS = 12, 7, 1000
Scores = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="folders of data sets, some of whose scans the model was trained on")
    parser.add_argument("--model", default="bus-multi")
    parser.add_argument("--scans", type=int, default=200, help="number of scans that the model has not seen")
    parser.add_argument("--ranges", type=int, default=100, help="number of training scans for the ranges of int8")
    options = parser.parse_args()
    torch = model_of(options.model)
    held_out, training = parts(torch, options)
    pixels = [held_out.read(sample)[0] for sample in held_out]
    reference = drop_maps(torch.predict(pixels))
    truth = [held_out.read(sample)[1] for sample in held_out]
    labels = [sample.label for sample in held_out]
    print(f"{options.model}, {len(held_out)} scans that it has not seen, int8 from {len(training)} training scans\n")
    columns = (
        "runtime",
        "Dice of the masks",
        "change of the Dice",
        "of the AUC, malignant",
        "of the AUC, lesion",
        "flips",
        "within",
    )
    print(f"| {' | '.join(columns)} | CPU ms per scan | speed-up |\n|{'---|' * 9}")
    runtimes = {"torch fp32": torch} | runnable(options.model, [str(sample.image) for sample in training])
    spent = in_turns(runtimes, pixels[:TIMED])
    for name, model in runtimes.items():
        found = reference if model is torch else drop_maps(model.predict(pixels))
        agreement = measure(reference, found)
        flips = sum(one.label != other.label for one, other in zip(reference, found, strict=True))
        cells = [
            name,
            f"{agreement.dice:.4f}",
            change([dice(one.mask, mask) for one, mask in zip(reference, truth, strict=True) if mask is not None],
                   [dice(one.mask, mask) for one, mask in zip(found, truth, strict=True) if mask is not None]),
            auc_change(reference, found, np.array([label == "malignant" for label in labels]), "malignant"),
            auc_change(reference, found, np.array([label == "normal" for label in labels]), "normal"),
            f"{flips} of {len(found)}",
            "yes" if agreement.within else "no",
            f"{statistics.median(spent[name]):.1f}",
            f"{statistics.median(base / own for base, own in zip(spent['torch fp32'], spent[name], strict=True)):.2f}",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)


def parts(model: bcdseg.Model, options: argparse.Namespace) -> tuple[bcdseg.Dataset, bcdseg.Dataset]:
    """Return a random choice of the scans that a model has not seen, and of those of its training data."""
    opened = [bcdseg.open_dataset(folder, on_problem="skip") for folder in options.data]
    data = bcdseg.combine(opened) if len(opened) > 1 else opened[0]
    order = np.random.default_rng(0).permutation(len(data))
    candidates = data.select(data.ids[at] for at in order[: 5 * options.scans])
    unseen = bcdseg.exclude_training_samples(model, candidates)
    seen = candidates.select(name for name in candidates.ids if name not in unseen)
    return unseen.select(unseen.ids[: options.scans]), seen.select(seen.ids[: options.ranges])


def runnable(name: str, ranges: list[str]) -> dict[str, bcdseg.Model]:
    found = {}
    for runtime, precision in WAYS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeFallbackWarning)
                model = model_of(name).run_on(runtime, precision=precision, calibrate_on=ranges if precision == "int8" else None)
                model.predict(np.zeros(model.preprocessing.frame, np.uint8))
            found[f"{runtime} {precision}"] = model
        except (BcdsegError, RuntimeFallbackWarning) as reason:
            print(f"{runtime} {precision} is left out: {reason}\n")
    return found


def in_turns(runtimes: dict[str, bcdseg.Model], pixels: list[np.ndarray]) -> dict[str, list[float]]:
    """Return the CPU milliseconds per scan of each runtime in each round; the first round is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(ROUNDS + 1):
        for name, model in runtimes.items():
            start = time.process_time()
            for one in pixels:
                model.predict(one)
            spent[name].append((time.process_time() - start) / len(pixels) * 1e3)
    return {name: times[1:] for name, times in spent.items()}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def change(before: list[float], after: list[float]) -> str:
    differences = np.array(after) - np.array(before)
    draws = np.random.default_rng(0).integers(len(differences), size=(DRAWS, len(differences)))
    return interval(float(differences.mean()), differences[draws].mean(axis=1))


def auc_change(reference: list[bcdseg.Prediction], found: list[bcdseg.Prediction], positive: np.ndarray, name: str) -> str:
    one, other = (np.array([each.probabilities[name] for each in results]) for results in (reference, found))
    draws = np.random.default_rng(0).integers(len(positive), size=(DRAWS, len(positive)))
    kept = [draw for draw in draws if 0 < positive[draw].sum() < len(draw)]
    values = [roc_auc_score(positive[draw], other[draw]) - roc_auc_score(positive[draw], one[draw]) for draw in kept]
    return interval(roc_auc_score(positive, other) - roc_auc_score(positive, one), np.array(values))


def interval(value: float, draws: Scores) -> str:
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{value:+.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
