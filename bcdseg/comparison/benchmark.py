"""Benchmark of recipes on the same leak-free folds: ``bcdseg.benchmark``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bcdseg.comparison.plan import GROUPED, LEAKY, Fold, FoldPairs, FoldPlan, keep_plan, make_plan
from bcdseg.comparison.result import Benchmark, Entry, gather
from bcdseg.comparison.store import Cost, FoldResult, gflops, keep_settings, load_result, parameters, save_result, seconds_per_scan
from bcdseg.data.dataset import Dataset, check_data
from bcdseg.errors import OptionError
from bcdseg.evaluation.case_results import predict_cases
from bcdseg.evaluation.measures.intervals import DRAWS
from bcdseg.evaluation.report.files import cases_csv
from bcdseg.evaluation.results_table import table_of
from bcdseg.evaluation.training_overlap import refuse_seen
from bcdseg.extras import require
from bcdseg.files import write_whole
from bcdseg.inference.writers import json_bytes
from bcdseg.messages import check_choice, check_whole
from bcdseg.model.model import Model
from bcdseg.terminal import make_console
from bcdseg.training.config import FitConfig
from bcdseg.training.fit import fit
from bcdseg.training.recipes import Recipe, recipe
from bcdseg.training.run import BEST, LAST, MAY_DIFFER

RESULTS = ("benchmark.md", "benchmark.csv", "benchmark.json")
CASES = {GROUPED: "cases.csv", LEAKY: "leaky-cases.csv"}


def benchmark(
    data: Dataset,
    recipes: Sequence[str | Recipe] = ("default",),
    *,
    folds: int | FoldPairs = 5,
    out: str | PathLike[str] = "benchmark",
    seed: int = 0,
    val: float = 0.15,
    show_leak: bool = False,
    copies: str = "all",
    from_scratch: bool = False,
    size: int | None = None,
    draws: int = DRAWS,
    duplicates: Sequence[Sequence[str]] | None = None,
    **options: Any,
) -> Benchmark:
    """Train and evaluate recipes on the same cross-validation folds; no patient and no copy of a scan is in two of them.

    A fraction of each fold's training part is its validation part, on which the epoch is chosen and the model is calibrated. Each
    scan is predicted by the one model that was not trained on it. The measures are computed over all scans together, with
    intervals over groups.

    A stopped benchmark resumes when it is called again with the same folder. Finished folds are kept, and the stopped training
    resumes after its last complete epoch. Recipes can be added to a folder later.

    Args:
        data: Scans of the benchmark.
        recipes: Names of recipes, or recipes. Those for two classes are evaluated on the scans of these classes.
        folds: Number of folds, or a list of (train, test), such as ``bcdseg.load_folds`` returns.
        out: Folder for ``benchmark.md``, ``.csv`` and ``.json``, and for each recipe a folder with ``cases.csv`` and its folds.
        seed: Seed of the folds, the training and the bootstrap.
        val: Fraction of each training part that is used for validation.
        show_leak: Whether to run everything on random folds too, to measure how much leakage inflates the results.
        copies: ``"all"`` evaluates on all scans, as other work on a data set does; intervals count copies of a scan as one anyway.
            ``"first"`` evaluates on the first of each set of copies only. Training uses all scans.
        from_scratch: Whether recipes that would download ImageNet weights start from random ones.
        size: Height and width to which all recipes resize scans; by default each has its own.
        draws: Number of bootstrap draws; 0 computes no intervals.
        duplicates: Groups of ids that show the same scan; None searches for them.
        options: Fields of ``FitConfig`` that replace the recipes' own: ``epochs=20``.

    Raises:
        OptionError: An option or a recipe is unknown, the data have too few groups for the folds, or existing folds of a recipe
            were run with other options.
        OutputExistsError: The folder contains a benchmark of other folds or data.
    """
    require("pytorch_lightning", extra="train", purpose="A benchmark")
    check_data(data)
    check_whole(draws=draws, seed=seed)
    check_choice("copies", copies, ("all", "first"))
    chosen = _chosen(recipes, from_scratch, size)
    configs = {one.name: one.config(**{"seed": seed, **options}) for one in chosen}
    folder = Path(out)
    plan = make_plan(data, folds, seed=seed, val=val, leaky=show_leak, duplicates=duplicates)
    _prepare(chosen, configs, plan, folder)
    ids = _measured(plan, copies)
    entries = []
    for one in chosen:
        results = [(fold.kind, _run(one, fold, configs[one.name], folder / one.name)) for fold in plan.folds]
        for kind in (GROUPED, LEAKY) if show_leak else (GROUPED,):
            found = [result for of, result in results if of == kind]
            entries.append(gather(one.name, kind, found, ids=ids, draws=draws, seed=seed))
    return _written(_result(data, folder, entries, draws, seed))


def _chosen(recipes: Sequence[str | Recipe], from_scratch: bool, size: int | None) -> list[Recipe]:
    named = [recipes] if isinstance(recipes, (str, Recipe)) else list(recipes)
    chosen = [one if isinstance(one, Recipe) else recipe(one) for one in named]
    twice = sorted({one.name for one in chosen if [other.name for other in chosen].count(one.name) > 1})
    if not chosen or twice:
        raise OptionError(f"recipes={[one.name for one in chosen]!r}: give one or more, each once. bcdseg recipes lists them.")
    started = [one.from_scratch() for one in chosen] if from_scratch else chosen
    return started if size is None else [replace(one, network={**one.network, "size": size}) for one in started]


def _prepare(recipes: Sequence[Recipe], configs: dict[str, FitConfig], plan: FoldPlan, folder: Path) -> None:
    """Check that every recipe can run on this data in this folder, before the first training takes hours."""
    for one in recipes:
        new_model(one, one.narrow(plan.dataset).classes, configs[one.name])
    keep_plan(plan, folder)
    for one in recipes:
        keep_settings(folder / one.name, settings(one, configs[one.name]))


def _run(recipe: Recipe, fold: Fold, config: FitConfig, folder: Path) -> FoldResult:
    if config.progress:
        make_console(stderr=True).print(f"{recipe.name}, {fold}", markup=False, highlight=False)
    return run_fold(recipe, fold, config, folder / fold.folder)


def _measured(plan: FoldPlan, copies: str) -> frozenset[str]:
    """Return the ids of the scans to evaluate on."""
    if copies == "all":
        return frozenset(plan.dataset.ids)
    found = SimpleNamespace(duplicate_groups=plan.duplicates, conflicts=())
    return frozenset(plan.dataset.apply_audit(found, conflicts="keep", duplicates="first").ids)


def _result(data: Dataset, folder: Path, entries: Sequence[Entry], draws: int, seed: int) -> Benchmark:
    of_kind = {kind: tuple(entry for entry in entries if entry.kind == kind) for kind in (GROUPED, LEAKY)}
    return Benchmark(dataset=data.name, folder=folder, entries=of_kind[GROUPED], leaky=of_kind[LEAKY], draws=draws, seed=seed)


def _written(result: Benchmark) -> Benchmark:
    from bcdseg.comparison.tables import as_csv, as_data

    contents = (result.table().encode(), as_csv(result), json_bytes(as_data(result)))
    for name, content in zip(RESULTS, contents, strict=True):
        write_whole(result.folder / name, content, overwrite=True)
    for entry in (*result.entries, *result.leaky):
        write_whole(result.folder / entry.recipe / CASES[entry.kind], cases_csv(entry.cases), overwrite=True)
    return result


RUN = "run"


def settings(recipe: Recipe, config: FitConfig) -> dict[str, Mapping[str, Any]]:
    """Return the settings that determine the result of a recipe on a fold."""
    return {
        "data": {"classes": recipe.classes},
        "network": dict(recipe.network),
        "training": {name: value for name, value in asdict(config).items() if name not in MAY_DIFFER},
    }


def new_model(recipe: Recipe, classes: tuple[str, ...], config: FitConfig) -> Model:
    """Return the model that a recipe starts from; its random weights follow from the seed."""
    return recipe.model(classes, device=config.device, seed=config.seed)


def run_fold(recipe: Recipe, fold: Fold, config: FitConfig, folder: Path) -> FoldResult:
    """Return the stored result of a fold, or train and evaluate; a stopped training resumes after its last complete epoch."""
    done = load_result(folder)
    if done is not None:
        return done
    train, val, test = (recipe.narrow(part) for part in (fold.train, fold.val, fold.test))
    run = fit(new_model(recipe, train.classes, config), train, val, out=folder / RUN, config=config, resume=True)
    if fold.kind == GROUPED:
        refuse_seen(run.model, test)
    results = (result.case for result in predict_cases(run.model, test))
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
        cases=table_of(results, classes=run.model.classes, no_lesion=run.model.no_lesion),
    )
    save_result(result, folder)
    for name in (LAST, BEST):  # checkpoints are many times larger than the model, which is kept
        (folder / RUN / name).unlink(missing_ok=True)
    return result
