"""Command ``bcdseg evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.cli import options as common
from bcdseg.cli.options import MODEL_HELP, DataOptions, in_data, in_output, in_results, option_group
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset
    from bcdseg.evaluation.results import Evaluation
    from bcdseg.model.model import Model

in_calibration = option_group("Calibration")

ModelOrPredictions = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP[:-1]}; or a folder or table of predictions.")
]
DataSets = Annotated[
    list[Path],
    typer.Argument(metavar="DATA", help="The data set: a folder or a table; several for an external validation in one table."),
]
Gallery = Annotated[int, in_output(min=0, metavar="N", help="Scans of each kind to show.")]
Explain = Annotated[bool, in_output("--explain", help="Show Grad-CAM maps of the predicted class in the gallery.")]
Part = Annotated[
    str | None, in_data(metavar="NAME", help="The part to evaluate on: test, val or train.  [default: test, of a split]")
]
SubgroupFacts = Annotated[
    list[str] | None,
    in_results(
        "--subgroup",
        metavar="FACT",
        help="Compare by a fact, such as device, or by class or size; cut points: age:50,70. May be repeated.",
    ),
]
Metrics = Annotated[list[str] | None, in_results("--metric", metavar="NAME", help="A registered metric; may be repeated.")]
Prevalences = Annotated[
    list[float] | None,
    in_results(
        "--prevalence",
        metavar="FRACTION",
        help="Prevalence of the positive class at which to state predictive values; may be repeated.",
    ),
]
ClassOrder = Annotated[
    str | None, in_results(metavar="CLASSES", help="Classes from the lowest to the highest, for weighted kappas: 2,3,4,5.")
]
Tolerance = Annotated[
    float, in_results("--tolerance-mm", min=0, metavar="MM", help="Tolerance of the surface Dice in millimetres.")
]
Compare = Annotated[list[str] | None, in_results(metavar="MODEL", help="Another model to compare with; may be repeated.")]
Robustness = Annotated[bool, in_results("--robustness", help="Evaluate on corrupted scans too; takes about 28 times as long.")]
Seed = Annotated[int, in_results(min=0, metavar="N", help="The same seed gives the same intervals.")]
CalibrateOn = Annotated[str | None, in_calibration(metavar="PART", help="Calibrate on this part of the split first: val.")]
Sensitivities = Annotated[
    list[float] | None,
    in_calibration("--sensitivity", metavar="FRACTION", help="With --calibrate-on: a sensitivity to reach; may be repeated."),
]
Specificities = Annotated[
    list[float] | None,
    in_calibration("--specificity", metavar="FRACTION", help="With --calibrate-on: a specificity to reach; may be repeated."),
]


PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Calibration:
    """Part of the split to calibrate on, and operating points to choose there."""

    part: str | None
    sensitivity: list[float] | None
    specificity: list[float] | None


@dataclass(frozen=True)
class Selection:
    """Scans to evaluate on."""

    split: Path | None
    part: str | None
    exclude_training_samples: bool

    @property
    def name(self) -> str | None:
        """The part, or None for the whole data set."""
        return self.part or ("test" if self.split else None)

    @property
    def is_subset(self) -> bool:
        """Whether scans of the data set are left out."""
        return self.name is not None or self.exclude_training_samples


@dataclass(frozen=True)
class _Candidate:
    """One of the models to evaluate, or predictions of another program: ``model`` is None."""

    name: str
    model: Model | None

    def check(self, test: Dataset, options: dict[str, Any], *, allowed: bool) -> None:
        """Raise the errors that need no prediction, so that they come before the work of any model."""
        from bcdseg.evaluation.evaluate import check_evaluation
        from bcdseg.evaluation.options import RequestedOptions

        if self.model is None:
            return
        check_evaluation(self.model, test, RequestedOptions(**options), allow_training_samples=allowed)

    def evaluate(self, test: Dataset, selection: Selection, options: dict[str, Any], for_models: dict[str, Any]) -> Evaluation:
        """Return the results of the model or of the predictions."""
        from bcdseg.evaluation.evaluate import evaluate
        from bcdseg.evaluation.external_predictions import evaluate_predictions

        if self.model is None:
            return evaluate_predictions(self.name, test, subset=selection.is_subset, **options)
        return evaluate(self.model, test, **for_models, **options)


def evaluate_command(
    model: ModelOrPredictions,
    data: DataSets,
    out: common.Out = Path("report"),
    overwrite: common.Overwrite = False,
    gallery: Gallery = 4,
    explain: Explain = False,
    split: common.SplitFile = None,
    part: Part = None,
    layout: common.Layout = "auto",
    columns: common.Columns = None,
    class_map: common.ClassMap = None,
    on_problem: common.OnProblem = "error",
    resize_masks: common.ResizeMasks = False,
    allow_training_samples: common.AllowTrainingSamples = False,
    allow_seen: common.AllowSeen = False,
    exclude_training_samples: common.ExcludeTrainingSamples = False,
    unseen: common.Unseen = False,
    subgroup: SubgroupFacts = None,
    metric: Metrics = None,
    prevalence: Prevalences = None,
    class_order: ClassOrder = None,
    tolerance_mm: Tolerance = 1.0,
    compare: Compare = None,
    robustness: Robustness = False,
    draws: common.Draws = 1000,
    seed: Seed = 0,
    calibrate_on: CalibrateOn = None,
    sensitivity: Sensitivities = None,
    specificity: Specificities = None,
    device: common.Device = "auto",
) -> None:
    """Evaluate a model on scans that it was not trained on, and write a report.

    The report is one page, Markdown, JSON, the results per scan, the figures, reporting checklists, and a methods paragraph and a
    table of results for a paper.

    Exit status: 0 success, 2 wrong usage, data that can't be evaluated on, or scans that the model was trained on.

    Examples:
        bcdseg evaluate runs/resnet50-1/model DATA --split split.json
        bcdseg evaluate busi-lite DATA -o report --robustness
        bcdseg evaluate mine DATA --subgroup device --subgroup age:50,70 --prevalence 0.05
        bcdseg evaluate mine HOSPITAL_A HOSPITAL_B -o external
    """
    from bcdseg.evaluation.report.files import check_report_free
    from bcdseg.model.registry import load

    data_options = DataOptions(layout, columns, class_map, on_problem, resize_masks)
    selection = Selection(split, part, exclude_training_samples or unseen)
    calibration = Calibration(calibrate_on, sensitivity, specificity)
    options: dict[str, Any] = {
        "draws": draws,
        "seed": seed,
        "gallery": gallery,
        "subgroups": _subgroups(subgroup or ()),
        "metrics": metric or (),
        "prevalence": prevalence or None,
        "class_order": [name.strip() for name in class_order.split(",")] if class_order else None,
        "tolerance_mm": tolerance_mm,
    }
    for_models: dict[str, Any] = {
        "robustness": robustness,
        "explain": explain,
        "allow_training_samples": allow_training_samples or allow_seen,
    }
    _check_combination(model, data, selection, calibration, compare, robustness or explain)
    if len(data) > 1:
        _evaluate_external(model, [data_options.open(path) for path in data], device, out, overwrite, {**for_models, **options})
        return
    check_report_free(out, overwrite=overwrite)
    parts = _parts(data_options.open(data[0]), split, {selection.name, calibrate_on})
    first = _Candidate(model, None if _is_predictions(model) else _load_calibrated(model, device, calibration, parts))
    others = [_Candidate(name, None if _is_predictions(name) else load(name, device=device)) for name in compare or ()]
    test = parts[selection.name]
    if selection.exclude_training_samples:
        for one in (first, *others):
            test = test if one.model is None else without_training_samples(one.model, test)
    few = {name: options[name] for name in ("draws", "seed", "metrics", "tolerance_mm")} | {"gallery": 0}
    allowed = for_models["allow_training_samples"]
    first.check(test, options, allowed=allowed)
    for one in others:
        one.check(test, few, allowed=allowed)
    compared = [one.evaluate(test, selection, few, {"allow_training_samples": allowed}) for one in others]
    result = first.evaluate(test, selection, options, for_models)  # last, because it takes longest, and errors should come early
    curves = None if first.model is None else _curves(Path(model))
    page = result.save(out, compared_with=compared, training_curves=curves, overwrite=overwrite)
    echo(repr(result)[1:-1])
    for other in compared:
        echo(repr(result.compare(other)))
    echo(f"\nThe report is {page}")


def without_training_samples(model: Model, scans: Dataset) -> Dataset:
    """Return the scans that the model was not trained on; an error if there are none."""
    from bcdseg.errors import LeakError
    from bcdseg.evaluation.training_overlap import exclude_training_samples

    left = exclude_training_samples(model, scans)
    if not left:
        raise LeakError(
            f"{scans.name}: all of these scans, or other scans of their groups, are in the training or validation data of "
            f"{model.name}: none is left."
        )
    return left


def _check_combination(
    model: str, data: Sequence[Path], selection: Selection, calibration: Calibration, compare: Sequence[str] | None, costly: bool
) -> None:
    from bcdseg.errors import OptionError

    predictions = _is_predictions(model)
    chosen = selection.split or selection.part or selection.exclude_training_samples
    if len(data) > 1 and (chosen or calibration.part or compare or predictions):
        raise OptionError(
            "Several data sets are evaluated as a whole, by one model: leave out --split, --part, --calibrate-on, --compare and "
            "--exclude-training-samples, and give a model, not predictions."
        )
    only_predictions = predictions and all(map(_is_predictions, compare or ()))
    if (predictions and (calibration.part or costly)) or (only_predictions and selection.exclude_training_samples):
        raise OptionError(
            f"{model}: contains predictions, not a model: leave out --calibrate-on, --robustness, --explain and "
            "--exclude-training-samples."
        )
    if calibration.part is not None and selection.name in (None, calibration.part):
        raise OptionError(
            f"--calibrate-on {calibration.part}: the model is evaluated on these scans too, and thresholds look too good on the "
            "scans that they were chosen on. Calibrate on one part and evaluate on another: --calibrate-on val --part test."
        )
    if (calibration.sensitivity or calibration.specificity) and predictions:
        raise OptionError(f"{model}: contains predictions, not a model: leave out --sensitivity and --specificity.")
    if (calibration.sensitivity or calibration.specificity) and not calibration.part:
        raise OptionError("--sensitivity and --specificity choose a threshold: give the scans for it, with --calibrate-on val.")


def _load_calibrated(name: str, device: str, calibration: Calibration, parts: dict[str | None, Dataset]) -> Model:
    from bcdseg.evaluation.calibrate import calibrate
    from bcdseg.model.registry import load

    model = load(name, device=device)
    if calibration.part is None:
        return model
    return calibrate(model, parts[calibration.part], sensitivity=calibration.sensitivity, specificity=calibration.specificity)


def _evaluate_external(
    model: str, datasets: Sequence[Dataset], device: str, out: Path, overwrite: bool, options: dict[str, Any]
) -> None:
    from bcdseg.evaluation.external_validation import evaluate_external
    from bcdseg.model.registry import load

    found = evaluate_external(load(model, device=device), datasets, out=out, overwrite=overwrite, **options)
    echo(found.table())
    echo(f"The report is {out / 'external.html'}")


def _subgroups(texts: Sequence[str]) -> dict[str, list[float] | None]:
    """Return the facts with their cut points: ``age:50,70`` has two, ``device`` has none."""
    from bcdseg.errors import OptionError

    found: dict[str, list[float] | None] = {}
    for text in texts:
        name, colon, cuts = text.partition(":")
        if name in found:
            raise OptionError(f"--subgroup {name} is given twice: give all its cut points together, such as age:50,70.")
        try:
            found[name] = [float(cut) for cut in cuts.split(",")] if colon else None
        except ValueError:
            raise OptionError(f"--subgroup {text}: after the colon give numbers, such as age:50,70.") from None
    return found


def _parts(dataset: Dataset, split: Path | None, names: set[str | None]) -> dict[str | None, Dataset]:
    """Return the requested parts of the data set; the key None is the whole data set."""
    from bcdseg.data.splits import load_split
    from bcdseg.messages import check_choice

    for name in names - {None}:
        check_choice("part", name, PARTS)
    if split is not None:
        found: dict[str | None, Dataset] = dict(zip(PARTS, load_split(split, dataset), strict=True))
        return found
    return {name: dataset if name is None else dataset.part(name) for name in names | {None}}


def _is_predictions(name: str) -> bool:
    from bcdseg.data.tables.files import SUFFIXES

    path = Path(name)
    has_model = any(path.glob("config.json")) or any(path.glob("*/config.json"))  # a run's folder contains it one level deeper
    return path.suffix.lower() in SUFFIXES or (path.is_dir() and not has_model)


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
