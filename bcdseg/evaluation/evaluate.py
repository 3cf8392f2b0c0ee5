"""Evaluation of a model on scans that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.labels import match_spellings
from bcdseg.deprecation import renamed_arguments
from bcdseg.errors import OptionError
from bcdseg.evaluation.case_results import check_measurable, check_model, classes_of, predict_cases
from bcdseg.evaluation.measures.custom import MetricLike
from bcdseg.evaluation.measures.intervals import DRAWS
from bcdseg.evaluation.measures.subgroups import Subgroups
from bcdseg.evaluation.metrics.outline import TOLERANCE_MM
from bcdseg.evaluation.options import EvaluationOptions, RequestedOptions
from bcdseg.evaluation.report.figures import GalleryItem, choose
from bcdseg.evaluation.report.files import check_report_free
from bcdseg.evaluation.results import Evaluation, tracked
from bcdseg.evaluation.results_table import Cases, table_of
from bcdseg.evaluation.robustness import measure_robustness
from bcdseg.evaluation.training_overlap import find_seen, refuse_seen
from bcdseg.inference.rules import described
from bcdseg.messages import counted

if TYPE_CHECKING:
    from bcdseg.model.model import Model

REPORTED = ("summary", "data", "method", "calibration", "limits", "licence", "citation")
"""Parts of a model's training metadata that a report states."""


@renamed_arguments("0.2.0", allow_seen="allow_training_samples")
def evaluate(
    model: Model,
    test: Dataset,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    subgroups: Subgroups = (),
    metrics: Sequence[MetricLike] = (),
    prevalence: float | Sequence[float] | None = None,
    class_order: Sequence[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    out: str | Path | None = None,
    overwrite: bool = False,
    robustness: bool = False,
    allow_training_samples: bool = False,
    gallery: int = 4,
    explain: bool = False,
    progress: bool = True,
    threshold: float | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Evaluate a model on test scans, with 95 % bootstrap intervals over groups.

    Every scan is predicted at its own size and compared with its true mask and class. Scans may lack either of the two. A scan of
    the negative class has an empty true mask, with or without a mask file.

    Args:
        model: Model to evaluate.
        test: Test scans, with the groups that ``bcdseg.split`` assigned to them.
        draws: Number of bootstrap draws; 0 computes no intervals.
        seed: Seed of the bootstrap; the same seed gives the same intervals.
        subgroups: Names of facts (``Sample.facts``) that define subgroups, such as ``["device", "birads"]``; also
            ``"class"`` and ``"size"`` (of the lesion). A mapping gives the cut points of numbers: ``{"age": [50, 70]}``.
        metrics: Your own metrics: functions ``(y_true, y_pred)`` of the masks of one scan, names of registered ones, or
            ``bcdseg.Metric`` for functions of classes or probabilities. They get intervals like all others.
        prevalence: Prevalence of the positive class in clinical use, or several: predictive values, number needed to biopsy and net
            benefit are stated for it too.
        class_order: Classes from the lowest to the highest, for weighted kappas; by default that of BI-RADS categories.
        tolerance_mm: Tolerance of the normalised surface Dice in millimetres.
        out: Folder for the report, see ``Evaluation.save``.
        overwrite: Whether an existing report may be replaced.
        robustness: Whether to evaluate on corrupted scans too, which takes about 28 times as long.
        allow_training_samples: Whether the model may have been trained on some of the scans; the report then states it.
        gallery: Number of scans of each kind (best, median, worst, ...) in the gallery; 0 leaves it out.
        explain: Whether the gallery shows Grad-CAM heat maps of the predicted class.
        progress: Whether to show progress on a terminal.
        threshold: Mask probability from which a pixel belongs to the lesion; by default the model's own.
        batch_size: Number of scans per batch of the network.

    Raises:
        LeakError: Some of these scans or their groups are in the training or validation data of the model; the message names them.
        InputError: A scan has a class that the model doesn't have or a mask of another size, or no scan has a true mask or class.
        OptionError: An option is not possible, or no scan has a fact that ``subgroups`` names.
    """
    if out is not None:
        check_report_free(Path(out), overwrite=overwrite)
    wanted = RequestedOptions(
        draws=draws,
        seed=seed,
        metrics=metrics,
        subgroups=subgroups,
        prevalence=prevalence,
        class_order=class_order,
        tolerance_mm=tolerance_mm,
        gallery=gallery,
    )
    test, chosen, overlap = check_evaluation(model, test, wanted, allow_training_samples=allow_training_samples)
    options: dict[str, Any] = {"threshold": threshold, "batch_size": batch_size}
    if explain and not model.classes:
        raise OptionError(f"explain=True: {model.name} only segments, and has no class to explain.")
    results = predict_cases(model, test, metrics=chosen.metrics, tolerance_mm=tolerance_mm, **options)
    stream = tracked(results, "Evaluating", len(test), progress)
    classes, no_lesion = classes_of(model, test)
    cases = table_of((result.case for result in stream), classes=classes, no_lesion=no_lesion)
    corrupted = None
    if robustness:
        corrupted = measure_robustness(model, test, untouched=cases, draws=draws, seed=seed, progress=progress, **options)
    result = Evaluation(
        model=model.name,
        dataset=test.name,
        about=about_model(model, threshold=threshold),
        **chosen.results(cases, model.rules),
        training_overlap=overlap,
        robustness=corrupted,
        gallery=tuple(_pictures(model, test, cases, gallery, explain, options)),
        problems=test.problems,
        min_confidence=model.rules.min_confidence if model.classes else None,
    )
    if out is not None:
        result.save(out, overwrite=overwrite)
    return result


def check_evaluation(
    model: Model, test: Dataset, wanted: RequestedOptions, *, allow_training_samples: bool = False
) -> tuple[Dataset, EvaluationOptions, str]:
    """Check all that can be checked before any scan is predicted.

    Returns:
        The scans with the model's spelling of their classes, the options, and the overlap of the scans with the model's training
        data: ``none``, ``unknown`` or ``allowed``.
    """
    check_model(model)
    check_data(test)
    test = match_spellings(test, model.classes, model.name)
    check_measurable(model.name, model.classes, test, has_masks=model.config.decoder is not None)
    chosen = wanted.checked(test, model.classes, has_masks=model.config.decoder is not None)
    return test, chosen, _overlap(model, test, allow_training_samples)


def about_model(model: Model, *, threshold: float | None = None) -> dict[str, Any]:
    """Return the facts about a model that a reader of its results needs; ``threshold`` replaces its own mask threshold."""
    reported = {title: content for title in REPORTED if (content := model.training.get(title))}
    untrained = {} if model.training else {"training": "This model was not trained: its predictions mean nothing."}
    record = model.training.get("seen")
    known = "none: the scans that it was trained on are not known"
    if record is not None:
        known = f"{counted(len(record['contents']), 'different image')} of its training and validation"
        known += f"; those of {', '.join(record['unknown'])} are not known" if record.get("unknown") else ""
    used = model.rules if threshold is None else replace(model.rules, threshold=threshold)
    rules = {**described(used), "operating points": [str(point) for point in used.operating_points] or "none"}
    path = model.preprocessing
    size = "the scan's own size" if path.resize == "none" else f"{path.size[0]} x {path.size[1]} pixels ({path.resize})"
    preprocessing = (
        f"{counted(path.channels, 'channel')}, {size}, normalised with mean {list(path.mean)} and standard deviation "
        f"{list(path.std)}"
    )
    about = {"network": model.network.config.summary, "preprocessing": preprocessing, **reported, **untrained}
    return {**about, "record of training scans": known, "rules": rules}


def _overlap(model: Model, test: Dataset, allowed: bool) -> str:
    if not allowed:
        return "none" if refuse_seen(model, test, can_allow=True) else "unknown"
    shared = find_seen(model, test)
    return "unknown" if shared is None else "allowed" if shared else "none"


def _pictures(
    model: Model, test: Dataset, cases: Cases, count: int, explain: bool, options: Mapping[str, Any]
) -> Iterator[GalleryItem]:
    """Predict the gallery's scans again, because keeping every mask until the selection would need too much memory."""
    chosen = list(choose(cases, count))
    shown = replace(test, samples=tuple(test.samples[row] for _, row in chosen))
    for (kind, row), result in zip(chosen, predict_cases(model, shown, explain=explain, **options), strict=True):
        found = result.prediction
        yield GalleryItem(test.samples[row].id, kind, row, found.image, result.truth, found.mask, found.heatmap)
