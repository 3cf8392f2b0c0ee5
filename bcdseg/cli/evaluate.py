"""Command ``bcdseg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.model.model import Model

PARTS = ("train", "val", "test")


def evaluate_command(
    model: Annotated[
        str, typer.Argument(help="A bundled model, a model folder, hf://owner/name; or a folder or table of predictions.")
    ],
    data: Annotated[Path, typer.Argument(help="The data set: a folder or a table.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the report.")] = Path("report"),
    split: Annotated[Path | None, typer.Option(metavar="FILE", help="A split that bcdseg split wrote.")] = None,
    part: Annotated[
        str | None, typer.Option(help="The part to measure on: test, val or train.  [default: test, of a split]")
    ] = None,
    calibrate_on: Annotated[
        str | None, typer.Option(metavar="PART", help="Calibrate on this part of the split first: val.")
    ] = None,
    sensitivity: Annotated[list[float] | None, typer.Option(help="With --calibrate-on: a sensitivity to reach; repeat it.")] = None,
    specificity: Annotated[list[float] | None, typer.Option(help="With --calibrate-on: a specificity to reach; repeat it.")] = None,
    compare: Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Another model to compare with; repeat it.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Measure on degraded scans too; takes some 25 times as long.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show where classes came from (Grad-CAM) in the gallery.")] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure on scans the model was trained on; the report says so.")
    ] = False,
    only_unseen: Annotated[
        bool, typer.Option("--unseen", help="Leave out scans that the model was trained on, copies of them and their groups.")
    ] = False,
    gallery: Annotated[int, typer.Option(min=0, help="Scans of each kind to show.")] = 4,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws; 0 leaves the intervals out.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same intervals.")] = 0,
    layout: Annotated[str, typer.Option(help="How the data set lies on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that is in the folder already.")] = False,
) -> None:
    """Measure a model on scans that it has not seen, and write a report: one page, Markdown, JSON, the cases and the figures.

    Exit status: 0 all good, 2 wrong usage, data that can't be measured on, or scans that the model was trained on.

    Examples:  bcdseg evaluate runs/resnet50-1/model DATA --split split.json  |  bcdseg evaluate busi-lite DATA --out report
    --robustness  |  bcdseg evaluate mine DATA --split split.json --calibrate-on val --sensitivity 0.95 --compare busi-lite
    """
    from bcdseg.errors import LeakError, OptionError
    from bcdseg.evaluation.report.files import check_report_free

    check_report_free(out, overwrite=overwrite)
    parts = _parts(data, layout, split, {part or ("test" if split else None), calibrate_on})
    test = parts[part or ("test" if split else None)]
    options: dict[str, Any] = {"draws": draws, "seed": seed, "gallery": gallery}
    if _is_predictions(model):
        if calibrate_on or robustness or explain or only_unseen:
            raise OptionError(
                f"{model}: holds predictions, not a model: it can't be calibrated, degraded, explained or asked what it saw."
            )
        from bcdseg.evaluation.external_predictions import evaluate_predictions

        result, curves = evaluate_predictions(model, test, subset=part is not None or split is not None, **options), None
    else:
        from bcdseg.evaluation.calibrate import calibrate
        from bcdseg.evaluation.evaluate import evaluate
        from bcdseg.evaluation.training_overlap import unseen

        loaded, curves = _load(model, device), _curves(Path(model))
        if (sensitivity or specificity) and not calibrate_on:
            raise OptionError("--sensitivity and --specificity choose a threshold: say on which scans, with --calibrate-on val.")
        if calibrate_on:
            loaded = calibrate(loaded, parts[calibrate_on], sensitivity=sensitivity, specificity=specificity)
        if only_unseen and not (test := unseen(loaded, test)):
            raise LeakError(f"{data}: {loaded.name} was trained or chosen on all of these scans or their groups: none is left.")
        options |= {"explain": explain, "allow_seen": allow_seen}
        result = evaluate(loaded, test, robustness=robustness, **options)
    others = [_other(name, test, device, allow_seen, draws, seed, split is not None or only_unseen) for name in compare or ()]
    page = result.save(out, compared_with=others, training_curves=curves, overwrite=overwrite)
    echo(repr(result)[1:-1])
    for other in others:
        echo(repr(result.compare(other)))
    echo(f"\nThe report is {page}")


def _parts(data: Path, layout: str, split: Path | None, names: set[str | None]) -> dict[str | None, Dataset]:
    """Return the requested parts of the data set; the key None is the whole data set."""
    from bcdseg.data.dataset import check_choice
    from bcdseg.data.opening import open_dataset
    from bcdseg.data.splits import load_split

    for name in names - {None}:
        check_choice("part", name, PARTS)
    dataset = open_dataset(data, layout)
    if split is not None:
        found: dict[str | None, Dataset] = dict(zip(PARTS, load_split(split, dataset), strict=True))
        return found
    return {name: dataset if name is None else dataset.part(name) for name in names | {None}}


def _is_predictions(name: str) -> bool:
    path = Path(name)
    holds_model = any(path.glob("config.json")) or any(path.glob("*/config.json"))  # a run's folder contains it one level deeper
    return path.suffix.lower() == ".csv" or (path.is_dir() and not holds_model)


def _load(name: str, device: str) -> Model:
    """Load a model; one in the folder of its run is named after that folder."""
    from bcdseg.model.registry import load

    loaded, folder = load(name, device=device), Path(name).resolve()
    if folder.is_dir() and folder.name == "model":
        loaded.name = folder.parent.name
    return loaded


def _other(name: str, test: Dataset, device: str, allow_seen: bool, draws: int, seed: int, subset: bool) -> Evaluation:
    from bcdseg.evaluation.evaluate import evaluate
    from bcdseg.evaluation.external_predictions import evaluate_predictions

    if _is_predictions(name):
        return evaluate_predictions(name, test, subset=subset, draws=draws, seed=seed, gallery=0)
    return evaluate(_load(name, device), test, allow_seen=allow_seen, draws=draws, seed=seed, gallery=0)


def _curves(model: Path) -> Any:
    """Draw the training curves of the run that a model folder belongs to; None where there is no run."""
    from bcdseg.training.run import METRICS

    table = model.resolve().parent / METRICS
    if not (model.is_dir() and table.is_file()):
        return None
    import csv

    from bcdseg.training.pictures import curves_figure

    with table.open(newline="", encoding="utf-8") as file:
        return curves_figure([{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)])
