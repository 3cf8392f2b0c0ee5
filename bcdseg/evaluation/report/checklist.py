"""Reporting checklists (CLAIM 2024, TRIPOD+AI, STARD-AI), filled as far as the run, the data and the model's card allow."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING, Any

from bcdseg import __version__
from bcdseg.evaluation.measures.intervals import FEWEST_GROUPS
from bcdseg.evaluation.measures.measure import shown
from bcdseg.evaluation.report.blocks import as_text, escape
from bcdseg.evaluation.training_overlap import OVERLAP
from bcdseg.messages import counted, name_some
from bcdseg.model.saving import DISCLAIMER

if TYPE_CHECKING:
    from bcdseg.evaluation.results import Evaluation

AUTHOR = "**To be written by the authors.**"
CHECK = "Check that it is complete."
PACKAGES = ("torch", "segmentation-models-pytorch", "monai", "scikit-learn", "scikit-image", "numpy")


def checklist_markdown(evaluation: Evaluation) -> str:
    """Return the checklists as Markdown tables: what is known is filled in, and the other items are marked for the authors."""
    checklists = json.loads((files("bcdseg.evaluation.report") / "checklists.json").read_text(encoding="utf-8"))
    known = known_facts(evaluation)
    lines = [
        f"# Reporting checklists of {escape(evaluation.model)} on {escape(evaluation.dataset)}",
        "",
        "The topics are paraphrased; the papers have the wording. Entries are filled in from the run, the data and the "
        f"model's card where they contain them. {CHECK} The last column is for the page of your manuscript.",
    ]
    for checklist in checklists:
        rows = checklist["items"]
        filled = sum(bool(known.get(fact)) for _, _, fact in rows)
        lines += ["", f"## {checklist['name']}", "", f"{checklist['citation']}.", ""]
        lines += [f"{filled} of {len(rows)} items are filled in, in whole or in part.", ""]
        lines += ["| item | topic | content | page |", "|---|---|---|---|"]
        lines += [f"| {item} | {topic} | {escape(known[fact]) if known.get(fact) else AUTHOR} | |" for item, topic, fact in rows]
    return "\n".join(lines) + "\n"


def known_facts(evaluation: Evaluation) -> dict[str, str]:
    """Return what is known of the topics of the checklists, by the names in ``checklists.json``; unknown topics are empty."""
    known = {**_of_model(evaluation), **_of_data(evaluation), **_of_results(evaluation)}
    several = {"devices": ("acquisition", "software"), "development": ("training", "disjoint"), "errors": ("failures", "fairness")}
    joined = {topic: " ".join(f"{known[one].rstrip('.')}." for one in names if known[one]) for topic, names in several.items()}
    return {**known, **joined}


def _of_model(evaluation: Evaluation) -> dict[str, str]:
    about, cases = evaluation.about, evaluation.cases
    network = as_text(about.get("network", ""))
    method = about["method"] if isinstance(about.get("method"), Mapping) else {}
    rules: Mapping[str, Any] = about.get("rules", {})
    initial = as_text(method.get("started from", "") or method.get("begun from", ""))  # the second name until version 0.2
    outputs = [
        "a mask probability per pixel and the mask above a threshold" if cases.has_mask.any() else "",
        f"a probability for each of the classes {', '.join(cases.classes)}" if cases.predicts_classes else "",
    ]
    return {
        "technology": f"Deep learning: {network}" if network else "",
        "use": f"{DISCLAIMER} The clinical role is to be described by the authors.",
        "model": network,
        "specification": network and f"{network}. Weights, preprocessing and decision rules are in the model's folder.",
        "preprocessing": as_text(about.get("preprocessing", "")),
        "training": as_text(about.get("method", "") or about.get("summary", "")),
        "selection": as_text(method.get("epochs", "")),
        "initialisation": initial and f"Trained from {initial}.",
        "ensemble": network and ("An ensemble." if "ensemble" in network.lower() else "None: the model is a single network."),
        "calibration": as_text(about.get("calibration", "")),
        "cutoffs": as_text(rules) and f"{as_text(rules)}. They were fixed before these scans were predicted.",
        "predictors": network and "The pixels of the scan are the only input.",
        "predictions": network and "By the stored model, with the preprocessing of its training, at each scan's own size.",
        "output": "; ".join(one for one in outputs if one),
        "quality": network and "Scans of poor quality and uncertain predictions are flagged.",
        "indeterminate": "No prediction is left out. Those below the confidence threshold are flagged and counted."
        if evaluation.min_confidence is not None
        else "No prediction is left out.",
        "blinding": network and "The model received pixels only; no clinical information and no reference standard.",
        "software": ", ".join([f"bcdseg {__version__}", *_versions()]),
        "availability": as_text({name: about[name] for name in ("licence", "citation") if name in about}),
    }


def _of_data(evaluation: Evaluation) -> dict[str, str]:
    cases, groups = evaluation.cases, Counter(evaluation.cases.groups)
    unread = len(evaluation.problems)
    unknown = {
        "class": int((cases.labels == -1).sum()) if cases.classes else 0,
        "mask": int((~cases.has_mask).sum()) if cases.predicts_masks else 0,
    }
    references = {"masks": cases.has_mask.sum() * cases.predicts_masks, "classes": cases.has_class.sum()}
    compared = " and ".join(f"{what} of {counted(count, 'scan')}" for what, count in references.items() if count)
    missing = [f"the {name} of {counted(count, 'scan')} is unknown" for name, count in unknown.items() if count]
    characteristics = {name: _distribution(evaluation, name) for name in sorted({key for one in cases.facts for key in one})}
    trained = as_text(evaluation.about.get("data", ""))
    return {
        "data": f"Test data: {evaluation.dataset}." + (f" Training data: {trained}" if trained else ""),
        "excluded": f"The evaluation leaves out {counted(unread, 'scan')} that could not be read."
        if unread
        else "All scans of the data set were used.",
        "missing": f"{'; '.join(missing)}; each scan is used in the measures for which it has a reference." if missing else "None.",
        "acquisition": "; ".join(
            f"{name}: {characteristics[name]}" for name in ("device", "probe", "frequency") if name in characteristics
        ),
        "reference": f"{compared[:1].upper()}{compared[1:]}, as in the data set." if compared else "",
        "partitions": OVERLAP[evaluation.training_overlap],
        "disjoint": f"{OVERLAP[evaluation.training_overlap]} Groups (patients, copies of a scan) are the unit of the check.",
        "numbers": f"{counted(len(cases), 'scan')} in {counted(len(groups), 'group')}; {_counts(evaluation)}; "
        f"{counted(unread, 'scan')} could not be read.",
        "imbalance": f"{_counts(evaluation)}. Balanced accuracy and the sensitivity for each class don't depend on these numbers.",
        "characteristics": "; ".join([_counts(evaluation), *(f"{name}: {text}" for name, text in characteristics.items())]),
    }


def _of_results(evaluation: Evaluation) -> dict[str, str]:
    titles = ", ".join(one.title for one in evaluation.headlines)
    values = "; ".join(f"{one.title} {shown(evaluation.estimates[one.name], one.unit)}" for one in evaluation.headlines)
    positive = evaluation.cases.positive
    names = [f"class_recall/{positive}", f"class_specificity/{positive}", f"roc_auc/{positive}"]
    by_name = {one.name: one for one in evaluation.measures}
    diagnostic = [
        f"{by_name[name].title} {shown(evaluation.estimates[name], by_name[name].unit)}" for name in names if name in by_name
    ]
    subgroups = evaluation.subgroups
    counts = evaluation.confusion.tolist() if evaluation.cases.has_class.any() else []
    return {
        "metrics": f"{titles}. Definitions are in the report. An empty prediction for a lesion counts with Dice 0.",
        "intervals": f"95 % intervals of a bootstrap over groups ({evaluation.draws} draws, seed {evaluation.seed}, stratified "
        f"by class); none from fewer than {FEWEST_GROUPS} groups."
        if evaluation.draws
        else "",
        "robustness": ", ".join(evaluation.robustness.degradations) if evaluation.robustness is not None else "",
        "explainability": "Grad-CAM maps in the report." if any(one.heatmap is not None for one in evaluation.gallery) else "",
        "external": f"{OVERLAP[evaluation.training_overlap]} Whether they are of another site is to be stated by the authors.",
        "heterogeneity": f"By {', '.join(subgroups.facts)}: see the section Subgroups of the report."
        if subgroups is not None
        else "",
        "fairness": f"Performance by {', '.join(subgroups.facts)}, with differences: see the section Subgroups."
        if subgroups is not None
        else "",
        "results": values,
        "diagnostic": "; ".join(diagnostic),
        "confusion": f"True classes in rows ({', '.join(evaluation.cases.classes)}): {counts}" if counts else "",
        "failures": "Worst outlines, false lesions and confident errors are in the gallery of the report."
        if evaluation.gallery
        else "",
        "limits": as_text(evaluation.about.get("limits", "")),
    }


def _counts(evaluation: Evaluation) -> str:
    return ", ".join(f"{count} {name}" for name, count in evaluation.counts.items()) or counted(len(evaluation.cases), "scan")


def _distribution(evaluation: Evaluation, fact: str) -> str:
    """Return how a fact is distributed over the scans, and of how many it is unknown."""
    values = [value for facts in evaluation.cases.facts if (value := facts.get(fact)) is not None]
    numbers = sorted(value for value in values if not isinstance(value, str))
    if len(numbers) == len(values) and len(set(numbers)) > 6:
        found = f"median {median(numbers):g} ({numbers[0]:g} to {numbers[-1]:g})"
    else:
        found = name_some([f"{name} {count}" for name, count in Counter(map(str, values)).most_common()], 8)
    unknown = len(evaluation.cases) - len(values)
    return found + f", unknown in {counted(unknown, 'scan')}" * bool(unknown)


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # an optional dependency
            continue
    return found
