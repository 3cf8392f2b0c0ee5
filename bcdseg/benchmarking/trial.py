"""One recipe on one fold: train, measure, keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bcdseg.benchmarking.cost import Cost, gflops, parameters, seconds_per_scan
from bcdseg.benchmarking.plan import GROUPED, Fold
from bcdseg.benchmarking.store import FoldResult, load_result, save_result
from bcdseg.evaluation.answers import answers
from bcdseg.evaluation.cases import table_of
from bcdseg.evaluation.seen import refuse_seen
from bcdseg.model.model import Model
from bcdseg.train.config import FitConfig
from bcdseg.train.fit import fit
from bcdseg.train.recipes import Recipe
from bcdseg.train.run import BEST, LAST

RUN = "run"


def settings(recipe: Recipe, config: FitConfig) -> dict[str, Mapping[str, Any]]:
    """What decides the result of a recipe on a fold."""
    ways = ("workers", "cache", "cache_gb", "device", "progress", "loggers")
    return {
        "network": dict(recipe.network),
        "training": {name: value for name, value in asdict(config).items() if name not in ways},
    }


def new_model(recipe: Recipe, classes: tuple[str, ...], config: FitConfig) -> Model:
    """Return the model that a recipe starts from; its random weights follow from the seed."""
    return recipe.model(classes, device=config.device, seed=config.seed)


def run_fold(recipe: Recipe, fold: Fold, config: FitConfig, folder: Path) -> FoldResult:
    """Train and measure, or take the result that is there. A training that was stopped goes on after its last whole epoch."""
    done = load_result(folder)
    if done is not None:
        return done
    train, val, test = (recipe.narrow(part) for part in (fold.train, fold.val, fold.test))
    run = fit(new_model(recipe, train.classes, config), train, val, out=folder / RUN, config=config, resume=True)
    if fold.kind == GROUPED:
        refuse_seen(run.model, test)
    said = (answer.case for answer in answers(run.model, test))
    cost = Cost(
        parameters=parameters(run.model),
        gflops=gflops(run.model),
        seconds_per_scan=seconds_per_scan(run.model, test),
        training_minutes=sum(row["seconds"] for row in run.history) / 60,
        device=run.model.device,
    )
    result = FoldResult(
        number=fold.number,
        best_epoch=run.best_epoch,
        epochs=len(run.history),
        best_score=run.best_score,
        cost=cost,
        cases=table_of(said, classes=run.model.classes, no_lesion=run.model.no_lesion),
    )
    save_result(result, folder)
    for name in (LAST, BEST):  # many times the size of the model, which stays
        (folder / RUN / name).unlink(missing_ok=True)
    return result
