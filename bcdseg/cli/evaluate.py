"""Command ``bcdseg evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.cli.data_options import LAYOUT, ClassMap, Columns, open_data
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset
    from bcdseg.evaluation.results import Evaluation

PARTS = ("train", "val", "test")


def evaluate_command(
    model: Annotated[
        str, typer.Argument(help="A bundled model, a model folder, hf://owner/name; or a folder or table of predictions.")
    ],
    data: Annotated[
        list[Path], typer.Argument(help="The data set: a folder or a table; several for an external validation in one table.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the report.")] = Path("report"),
    split: Annotated[Path | None, typer.Option(metavar="FILE", help="A split that bcdseg split wrote.")] = None,
    part: Annotated[
        str | None, typer.Option(help="The part to evaluate on: test, val or train.  [default: test, of a split]")
    ] = None,
    subgroup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACT", help="Compare by a fact, such as device, or by class or size; cut points: age:50,70. Repeat it."
        ),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A registered metric; repeat it.")] = None,
    prevalence: Annotated[
        list[float] | None,
        typer.Option(help="Prevalence of the positive class at which to state predictive values; repeat it."),
    ] = None,
    class_order: Annotated[
        str | None, typer.Option(metavar="CLASSES", help="Classes from the lowest to the highest, for weighted kappas: 2,3,4,5.")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(min=0, help="Tolerance of the surface Dice in millimetres.")] = 1.0,
    calibrate_on: Annotated[
        str | None, typer.Option(metavar="PART", help="Calibrate on this part of the split first: val.")
    ] = None,
    sensitivity: Annotated[list[float] | None, typer.Option(help="With --calibrate-on: a sensitivity to reach; repeat it.")] = None,
    specificity: Annotated[list[float] | None, typer.Option(help="With --calibrate-on: a specificity to reach; repeat it.")] = None,
    compare: Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Another model to compare with; repeat it.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Evaluate on corrupted scans too; takes some 25 times as long.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show Grad-CAM maps of the predicted class in the gallery.")] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Evaluate on scans that the model was trained on; the report states it.")
    ] = False,
    only_unseen: Annotated[
        bool, typer.Option("--unseen", help="Leave out scans that the model was trained on, copies of them and their groups.")
    ] = False,
    gallery: Annotated[int, typer.Option(min=0, help="Scans of each kind to show.")] = 4,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws; 0 leaves the intervals out.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same intervals.")] = 0,
    layout: Annotated[str, typer.Option(help=LAYOUT)] = "auto",
    columns: Columns = None,
    class_map: ClassMap = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that is in the folder already.")] = False,
) -> None:
    """Evaluate a model on scans that it was not trained on, and write a report.

    The report is one page, Markdown, JSON, the results per scan, the figures, reporting checklists, and a methods paragraph and a
    table of results for a paper.

    Exit status: 0 success, 2 wrong usage, data that can't be evaluated on, or scans that the model was trained on.

    Examples:  bcdseg evaluate runs/resnet50-1/model DATA --split split.json  |  bcdseg evaluate busi-lite DATA --out report
    --robustness  |  bcdseg evaluate mine DATA --subgroup device --subgroup age:50,70 --prevalence 0.05  |  bcdseg evaluate mine
    HOSPITAL_A HOSPITAL_B --out external
    """
    from bcdseg.errors import LeakError, OptionError
    from bcdseg.evaluation.report.files import check_report_free

    options: dict[str, Any] = {
        "draws": draws,
        "seed": seed,
        "gallery": gallery,
        "subgroups": _subgroups(subgroup or ()),
        "metrics": metric or (),
        "prevalence": prevalence or None,
        "class_order": class_order.split(",") if class_order else None,
        "tolerance_mm": tolerance_mm,
    }
    if len(data) > 1:
        if split or part or calibrate_on or compare or only_unseen or _is_predictions(model):
            raise OptionError(
                "Several data sets are evaluated as a whole, by one model: leave out --split, --part, --calibrate-on, "
                "--compare and "
                "--unseen, and give a model, not predictions."
            )
        datasets = [open_data(path, layout, columns, class_map) for path in data]
        _evaluate_external(model, datasets, device, out, overwrite, robustness, explain, allow_seen, options)
        return
    check_report_free(out, overwrite=overwrite)
    parts = _parts(open_data(data[0], layout, columns, class_map), split, {part or ("test" if split else None), calibrate_on})
    test = parts[part or ("test" if split else None)]
    if _is_predictions(model):
        if calibrate_on or robustness or explain or only_unseen:
            raise OptionError(
                f"{model}: contains predictions, not a model: leave out --calibrate-on, --robustness, --explain and --unseen."
            )
        from bcdseg.evaluation.external_predictions import evaluate_predictions

        result, curves = evaluate_predictions(model, test, subset=part is not None or split is not None, **options), None
    else:
        from bcdseg.evaluation.calibrate import calibrate
        from bcdseg.evaluation.evaluate import evaluate
        from bcdseg.evaluation.training_overlap import unseen
        from bcdseg.model.registry import load

        loaded, curves = load(model, device=device), _curves(Path(model))
        if (sensitivity or specificity) and not calibrate_on:
            raise OptionError("--sensitivity and --specificity choose a threshold: give the scans for it, with --calibrate-on val.")
        if calibrate_on:
            loaded = calibrate(loaded, parts[calibrate_on], sensitivity=sensitivity, specificity=specificity)
        if only_unseen and not (test := unseen(loaded, test)):
            raise LeakError(f"{data[0]}: {loaded.name} was trained or chosen on all of these scans or their groups: none is left.")
        result = evaluate(loaded, test, robustness=robustness, explain=explain, allow_seen=allow_seen, **options)
    others = [_other(name, test, device, allow_seen, draws, seed, split is not None or only_unseen) for name in compare or ()]
    page = result.save(out, compared_with=others, training_curves=curves, overwrite=overwrite)
    echo(repr(result)[1:-1])
    for other in others:
        echo(repr(result.compare(other)))
    echo(f"\nThe report is {page}")


def _evaluate_external(
    model: str,
    datasets: Sequence[Dataset],
    device: str,
    out: Path,
    overwrite: bool,
    robustness: bool,
    explain: bool,
    allow_seen: bool,
    options: dict[str, Any],
) -> None:
    from bcdseg.evaluation.external_validation import evaluate_external
    from bcdseg.model.registry import load

    more = {"robustness": robustness, "explain": explain, "allow_seen": allow_seen, **options}
    found = evaluate_external(load(model, device=device), datasets, out=out, overwrite=overwrite, **more)
    echo(found.table())
    echo(f"The report is {out / 'external.html'}")


def _subgroups(texts: Sequence[str]) -> dict[str, list[float] | None]:
    """Return the facts with their cut points: ``age:50,70`` has two, ``device`` has none."""
    from bcdseg.errors import OptionError

    found: dict[str, list[float] | None] = {}
    for text in texts:
        name, colon, cuts = text.partition(":")
        try:
            found[name] = [float(cut) for cut in cuts.split(",")] if colon else None
        except ValueError:
            raise OptionError(f"--subgroup {text}: after the colon give numbers, such as age:50,70.") from None
    return found


def _parts(dataset: Dataset, split: Path | None, names: set[str | None]) -> dict[str | None, Dataset]:
    """Return the requested parts of the data set; the key None is the whole data set."""
    from bcdseg.data.dataset import check_choice
    from bcdseg.data.splits import load_split

    for name in names - {None}:
        check_choice("part", name, PARTS)
    if split is not None:
        found: dict[str | None, Dataset] = dict(zip(PARTS, load_split(split, dataset), strict=True))
        return found
    return {name: dataset if name is None else dataset.part(name) for name in names | {None}}


def _is_predictions(name: str) -> bool:
    path = Path(name)
    holds_model = any(path.glob("config.json")) or any(path.glob("*/config.json"))  # a run's folder contains it one level deeper
    return path.suffix.lower() == ".csv" or (path.is_dir() and not holds_model)


def _other(name: str, test: Dataset, device: str, allow_seen: bool, draws: int, seed: int, subset: bool) -> Evaluation:
    from bcdseg.evaluation.evaluate import evaluate
    from bcdseg.evaluation.external_predictions import evaluate_predictions
    from bcdseg.model.registry import load

    if _is_predictions(name):
        return evaluate_predictions(name, test, subset=subset, draws=draws, seed=seed, gallery=0)
    return evaluate(load(name, device=device), test, allow_seen=allow_seen, draws=draws, seed=seed, gallery=0)


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
