"""Measure what a few scans of a new hospital give a model that was not trained there: fitted rules, or further training.

    python training/hospitals/local_scans.py PACKED.npz RUNS bus-bra BUS_BRA RESULTS.json --patients 25 50 100 200

``RUNS/loho-HOSPITAL`` contains the network without the hospital and its outputs (``all_runs.py``). Two fifths of the hospital's
patients are the test part. For each seed some of the others are drawn; a quarter of them is for validation, or all of them fit the
rules. The test part is never used to choose anything. Results that are in the file are kept, so that a run that was stopped
resumes; ``--table`` prints the table alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import Packed, open_hospital
from report import hospital_parser, left_out_model

import bcdseg
from bcdseg import Dataset, Model
from bcdseg.files import write_whole

TEST = 0.4  # of the patients
PARTS = (0.75, 0.25, 0.0)  # training, validation
MEASURES = {
    "dice": "lesion Dice",
    "missed_scan_rate": "lesion, no outline",
    "false_lesion_rate": "false lesions on normals",
    "roc_auc/normal": "presence AUC",
    "roc_auc/malignant-benign": "malignant/benign AUC",
    "class_recall/malignant": "sensitivity",
    "class_specificity/malignant": "specificity",
    "accuracy": "accuracy",
    "ece": "ECE",
}


def patients_of(data: Dataset) -> list[str]:
    """Return the patients, or groups of copies, of a data set, in its order."""
    return list(dict.fromkeys(sample.group or sample.id for sample in data))


def of_patients(data: Dataset, patients: list[str]) -> Dataset:
    """Return the samples of some patients."""
    chosen = set(patients)
    return data.select([sample.id for sample in data if (sample.group or sample.id) in chosen])


def fitted(model: Model, local: Dataset, _: argparse.Namespace, __: int) -> Model:
    """Return the model with rules fitted to the local scans."""
    return bcdseg.fit_site(model, local).model


def fitted_with_frequencies(model: Model, local: Dataset, _: argparse.Namespace, __: int) -> Model:
    """Return the model with rules and the fraction of normal scans fitted to the local scans."""
    return bcdseg.fit_site(model, local, class_frequencies=True).model


def trained(model: Model, local: Dataset, options: argparse.Namespace, seed: int) -> Model:
    """Return the model trained further on the local scans, as the guide on fine-tuning does."""
    train, val, _ = bcdseg.split(local, PARTS, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        run = bcdseg.fit(
            model,
            train,
            val,
            out=Path(folder) / "run",
            epochs=options.epochs,
            lr=options.lr,
            freeze_encoder_epochs=1,
            augment="light",
            balance=options.balance,
            seed=seed,
            pictures=False,
            progress=False,
            workers=0,
        )
    return run.model


WAYS: dict[str, Callable[[Model, Dataset, argparse.Namespace, int], Model]] = {
    "rules fitted": fitted,
    "rules and class frequencies fitted": fitted_with_frequencies,
    "trained further": trained,
}


def measured(model: Model, test: Dataset, draws: int) -> dict[str, Any]:
    """Return value, low and high of each figure."""
    report = bcdseg.evaluate(model, test, draws=draws)
    found = {name: report.estimates[name] for name in MEASURES if name in report.estimates}
    return {name: [one.value, one.low, one.high] for name, one in found.items() if one.value is not None}


def run_all(options: argparse.Namespace) -> None:
    """Measure the model itself, then each way with each number of patients and each seed."""
    data, _ = open_hospital(options.hospital, options.folder)
    if options.model is None:
        model = left_out_model(Packed.load(options.packed), options.runs, options.hospital)
    else:
        model = bcdseg.load(options.model)
    patients = patients_of(data)
    np.random.default_rng(0).shuffle(patients)
    cut = round(TEST * len(patients))
    test, others = of_patients(data, patients[:cut]), patients[cut:]
    results = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    results.setdefault("test", {"scans": len(test), "patients": cut})

    def keep(key: str, changed: Model, scans: int) -> None:
        results[key] = {"scans": scans, **measured(changed, test, options.draws)}
        write_whole(options.results, json.dumps(results, indent=1).encode(), overwrite=True)
        print(key, results[key], flush=True)

    if "none" not in results:
        keep("none", model, 0)
    for count in options.patients:
        for seed in range(options.seeds):
            drawn = np.random.default_rng((1, seed)).permutation(others)[:count].tolist()
            local = of_patients(data, drawn)
            for name in options.ways:
                if (key := f"{name}, {count}, {seed}") not in results:
                    keep(key, WAYS[name](model, local, options, seed), len(local))


def table(results: dict[str, Any], hospital: str) -> str:
    """Return the table of one hospital."""
    rows: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for key, found in results.items():
        if key not in ("test", "none"):
            name, count, _ = key.split(", ")
            rows.setdefault((name, int(count)), []).append(found)
    shown = [name for name in MEASURES if name in results["none"]]
    lines = [f"| {hospital} | patients | scans | {' | '.join(MEASURES[name] for name in shown)} |", "|---" * (len(shown) + 3) + "|"]
    lines.append(f"| none | 0 | 0 | {' | '.join(_estimate(*results['none'][name]) for name in shown)} |")
    for (name, count), runs in sorted(rows.items()):
        scans = round(statistics.fmean(run["scans"] for run in runs))
        cells = [_cell([run[one] for run in runs if one in run]) for one in shown]
        lines.append(f"| {name} | {count} | {scans} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _estimate(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _cell(found: list[list[float]]) -> str:
    """Return an estimate with its interval, or the mean of several draws with their range, unless all are equal."""
    values = [value for value, _, _ in found]
    if len(found) == 1:
        return _estimate(*found[0])
    if not found:
        return "-"
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{statistics.fmean(values):.3f} ({low} to {high})"


def main() -> None:
    parser = hospital_parser(__doc__)
    parser.add_argument("results", type=Path, help="the file of the results, written after each")
    parser.add_argument("--model", help="a model that was not trained on the hospital, in place of the network without it")
    parser.add_argument("--patients", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--balance", choices=["weight", "sample", "none"], default="weight", help="as of bcdseg.fit")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws of the intervals")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the table of the results, and measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.table:
        run_all(options)
    print(table(json.loads(options.results.read_text(encoding="utf-8")), options.hospital))


if __name__ == "__main__":
    main()
