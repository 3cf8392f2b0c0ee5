"""Train the recipes of the field and evaluate them with one command, which resumes after a stop.

    python training/field/run.py DATA WORK                    # everything, the cheapest and most informative runs first
    python training/field/run.py DATA WORK --only cnn-3class --seeds 1 --budget-seconds 3600
    python training/field/run.py DATA WORK --estimate         # seconds per epoch of each recipe on this machine
    python training/field/run.py DATA WORK --page             # the page and its picture from the finished runs

``DATA`` contains the folders busi256, bus_bra, bus_uclm and mias150. Each recipe is trained on BUSI by random split, as its authors
did, and by groups of near-duplicates, and tested on the part that was held back and on both other hospitals; the mammogram recipe
is trained on mias150 by scan and by patient. Finished runs are skipped; a run that was stopped resumes after its last complete
epoch. Two cores can't run all recipes at full length: each has a cap of epochs in ``plan.py``, ``--full`` lifts it, and every
result states the epochs run of those claimed. ``finished/`` contains the results so far: copy them to WORK to resume from them.
"""

from __future__ import annotations

import argparse
import shutil
import time
import warnings
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from figures import HELD_BACK
from page import write_page
from parts import open_data, other_hospitals, parts
from plan import SEEDS, WITHOUT_IMAGENET, RunPlan, all_runs, recipe_of
from speed import estimate
from store import Result, is_finished, save

import bcdseg
from bcdseg import Dataset, Model
from bcdseg.errors import WeightsUnavailableError
from bcdseg.evaluation.case_results import predict_cases
from bcdseg.evaluation.measures.catalogue import all_measures, headlines
from bcdseg.evaluation.measures.intervals import estimate as estimates_of
from bcdseg.evaluation.results_table import Cases, table_of
from bcdseg.training.recipes import Recipe

PAGES = Path(__file__).parents[2] / "docs" / "benchmarks"


def run_one(run: RunPlan, data: Path, work: Path, options: argparse.Namespace) -> None:
    """Train one run, test it, and write its result; what training needs on disk is removed then."""
    start, (recipe, model, weights) = time.monotonic(), _start(run, data, options)
    narrowed = recipe.narrow(open_data(data, run.data))
    train, val, test = parts(run, narrowed)
    claimed = recipe.config().epochs
    epochs = claimed if options.full else min(run.entry.epochs, claimed)
    epochs = min(epochs, options.epochs or epochs)
    fitted = bcdseg.fit(
        model,
        train,
        val,
        out=work / "runs" / run.name,
        config=recipe.config(
            epochs=epochs, seed=run.seed, precision=run.entry.precision, pictures=False, progress=False, workers=0
        ),
        resume=True,
    )
    tests = {HELD_BACK: test, **other_hospitals(data, run, recipe)}
    cases = {name: _measured(fitted.model, scans) for name, scans in tests.items()}
    facts = {
        "recipe": run.recipe,
        "data": run.data,
        "way": run.way,
        "seed": run.seed,
        "weights": weights,
        "precision": run.entry.precision,
        "epochs claimed": claimed,
        "epochs run": len(fitted.history),
        "best epoch": fitted.best_epoch,
        "scans": {"train": len(train), "val": len(val), **{name: len(scans) for name, scans in tests.items()}},
        "training seconds": round(sum(row["seconds"] for row in fitted.history), 1),
        "seconds": round(time.monotonic() - start, 1),
        "figures": {name: _figures(table) for name, table in cases.items()},
        "versions": {name: version(name) for name in ("torch", "timm", "segmentation_models_pytorch")},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    save(Result(facts, cases), work, run.name)
    shutil.rmtree(work / "runs" / run.name)


def _start(run: RunPlan, data: Path, options: argparse.Namespace) -> tuple[Recipe, Model, str]:
    """Return the recipe, its initial model, and where its weights come from."""
    recipe = recipe_of(run, weights=True)
    classes = recipe.narrow(open_data(data, run.data)).classes
    if recipe.network.get("weights") is None:
        return recipe, recipe.model(classes, seed=run.seed), "random, as in the recipe"
    file = None if options.weights is None else options.weights / f"{recipe.network['encoder']}.pth"
    if file is not None and file.is_file():
        return recipe, recipe.model(classes, weights=file, seed=run.seed), "ImageNet"
    try:
        return recipe, recipe.model(classes, seed=run.seed), "ImageNet"
    except WeightsUnavailableError:
        recipe = recipe_of(run, weights=False)
        return recipe, recipe.model(classes, seed=run.seed), WITHOUT_IMAGENET


def _measured(model: Model, scans: Dataset) -> Cases:
    results = (result.case for result in predict_cases(model, scans))
    return table_of(results, classes=model.classes, no_lesion=model.no_lesion)


def _figures(cases: Cases) -> dict[str, Mapping[str, Any]]:
    """Return the headline figures of one test set with their intervals."""
    measures = headlines(all_measures(cases), cases.positive, distance="hd95_share")
    found = estimates_of(cases, measures)
    return {
        name: {end: None if (at := getattr(one, end)) is None else round(at, 4) for end in ("value", "low", "high")}
        for name, one in found.items()
    }


def train_all(runs: list[RunPlan], options: argparse.Namespace) -> None:
    """Run what is not finished, until the time is over."""
    start = time.monotonic()
    for run in runs:
        if is_finished(options.work, run.name):
            continue
        if options.budget_seconds is not None and time.monotonic() - start > options.budget_seconds:
            _log(f"stopped after {options.budget_seconds} seconds, before {run.name}; the same command resumes")
            return
        _log(f"{run.name} starts")
        run_one(run, options.data, options.work, options)
        _log(f"{run.name} is finished")


def _log(text: str) -> None:
    print(f"{datetime.now(timezone.utc):%H:%M:%S} {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of busi256, bus_bra, bus_uclm and mias150")
    parser.add_argument("work", type=Path, help="folder of the results; finished runs in it are skipped")
    parser.add_argument("--only", nargs="*", metavar="RECIPE", help="names of recipes, with +mask where a decoder is added")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of seeds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="lower cap of epochs for all recipes, for a trial")
    parser.add_argument("--full", action="store_true", help="all epochs that each recipe claims")
    parser.add_argument("--budget-seconds", type=float, help="start no further run after so long")
    parser.add_argument("--weights", type=Path, help="folder of ImageNet weights, ENCODER.pth, used before the hub")
    parser.add_argument("--estimate", action="store_true", help="print the time of an epoch of each recipe here, and train nothing")
    parser.add_argument(
        "--page", nargs="?", type=Path, const=PAGES, help="write the page from the finished runs, and train nothing"
    )
    return parser


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", bcdseg.errors.LeakWarning)
    runs = all_runs(options.seeds)
    if unknown := sorted(set(options.only or ()) - {run.recipe for run in runs}):
        parser.error(f"--only {unknown[0]}: is not a recipe of the field; there are {', '.join({run.recipe: 0 for run in runs})}")
    chosen = [run for run in runs if not options.only or run.recipe in options.only]
    if options.page is not None:
        write_page(runs, options.work, options.page)
    elif options.estimate:
        print(estimate(dict.fromkeys(run.recipe for run in chosen)))
    else:
        train_all(chosen, options)


if __name__ == "__main__":
    main()
