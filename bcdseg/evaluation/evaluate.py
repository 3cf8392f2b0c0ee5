"""Evaluation of a model on scans that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.data.dataset import Dataset
from bcdseg.evaluation.case_results import answers, check_data, check_measurable, check_model
from bcdseg.evaluation.gallery import GalleryItem, choose
from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import DRAWS, check_whole, estimate
from bcdseg.evaluation.measures.operating_points import point_measures
from bcdseg.evaluation.report.files import check_report_free
from bcdseg.evaluation.results import Evaluation, tracked
from bcdseg.evaluation.results_table import Cases, table_of
from bcdseg.evaluation.robustness import measure_robustness
from bcdseg.evaluation.training_overlap import find_seen, refuse_seen

if TYPE_CHECKING:
    from bcdseg.model.model import Model

TOLD = ("summary", "data", "method", "calibration", "limits")


def evaluate(
    model: Model,
    test: Dataset,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    robustness: bool = False,
    allow_seen: bool = False,
    gallery: int = 4,
    explain: bool = False,
    progress: bool = True,
    threshold: float | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Measure a model on test scans, with 95 % bootstrap intervals over groups.

    Every scan is predicted at its own size and compared with its true mask and class. Scans may lack either of the two. A scan of
    the 'no lesion' class has an empty true mask, with or without a mask file.

    Args:
        model: Model to evaluate.
        test: Test scans, with the groups that ``bcdseg.split`` assigned to them.
        draws: Number of bootstrap draws; 0 computes no intervals.
        seed: Seed of the bootstrap; the same seed gives the same intervals.
        out: Folder for the report, see ``Evaluation.save``.
        overwrite: Whether an existing report may be replaced.
        robustness: Whether to measure on corrupted scans too, which takes about 25 times as long.
        allow_seen: Whether the model may have been trained on some of the scans; the report then states it.
        gallery: Number of scans of each kind (best, median, worst, ...) in the gallery; 0 leaves it out.
        explain: Whether the gallery shows Grad-CAM heat maps of the predicted class.
        progress: Whether to show progress on a terminal.
        threshold: Mask probability from which a pixel belongs to the lesion; by default the model's own.
        batch_size: Number of scans per batch of the network.

    Raises:
        LeakError: The model was trained or chosen on some of these scans or their groups; the message names them.
        InputError: A scan has a class that the model doesn't know or a mask of another size, or no scan has a true mask or class.
    """
    check_model(model)
    check_data(test)
    check_whole(draws=draws, seed=seed, gallery=gallery)
    if out is not None:
        check_report_free(Path(out), overwrite=overwrite)
    check_measurable(model.name, model.classes, test)
    options: dict[str, Any] = {"threshold": threshold, "batch_size": batch_size}
    seen = _seen(model, test, allow_seen)
    stream = tracked(answers(model, test, **options), "Evaluating", len(test), progress)
    cases = table_of((answer.case for answer in stream), classes=model.classes, no_lesion=model.no_lesion)
    measures = (*all_measures(cases), *point_measures(cases, model.rules))
    tried = None
    if robustness:
        tried = measure_robustness(model, test, untouched=cases, draws=draws, seed=seed, progress=progress, **options)
    result = Evaluation(
        model=model.name,
        dataset=test.name,
        about=about_model(model),
        cases=cases,
        measures=measures,
        estimates=estimate(cases, measures, draws=draws, seed=seed),
        seen=seen,
        robustness=tried,
        gallery=tuple(_pictures(model, test, cases, gallery, explain and bool(model.classes), options)),
        problems=test.problems,
        min_confidence=model.rules.min_confidence if model.classes else None,
        draws=draws,
        seed=seed,
    )
    if out is not None:
        result.save(out, overwrite=overwrite)
    return result


def about_model(model: Model) -> dict[str, Any]:
    """Return the facts about a model that a reader of its results needs."""
    told = {title: content for title in TOLD if (content := model.training.get(title))}
    trained = {} if model.training else {"training": "This model was not trained: its answers mean nothing."}
    seen = model.training.get("seen")
    remembered = "nothing: which scans it was trained on is not known"
    if seen is not None:
        remembered = f"{len(seen['contents'])} pictures of its training and validation"
    rules = {
        "mask threshold": f"{model.rules.threshold:g}",
        "temperature": f"{model.rules.temperature:.3g}",
        "confidence threshold": f"{model.rules.min_confidence:.0%}",
        "operating points": [str(point) for point in model.rules.operating_points] or "none",
    }
    return {"network": model.network.config.summary, **told, **trained, "remembers": remembered, "rules": rules}


def _seen(model: Model, test: Dataset, allowed: bool) -> str:
    if not allowed:
        return "unseen" if refuse_seen(model, test) else "unknown"
    shared = find_seen(model, test)
    return "unknown" if shared is None else "allowed" if shared else "unseen"


def _pictures(
    model: Model, test: Dataset, cases: Cases, count: int, explain: bool, options: Mapping[str, Any]
) -> Iterator[GalleryItem]:
    """Predict the gallery's scans again, because keeping every mask until the selection would need too much memory."""
    chosen = list(choose(cases, count))
    shown = replace(test, samples=tuple(test.samples[row] for _, row in chosen))
    for (kind, row), answer in zip(chosen, answers(model, shown, explain=explain, **options), strict=True):
        said = answer.prediction
        yield GalleryItem(test.samples[row].id, kind, row, said.image, answer.truth, said.mask, said.heatmap)
