"""A methods paragraph and a table of results for a paper, in Markdown and LaTeX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bcdseg import __version__
from bcdseg.evaluation.measures.intervals import FEWEST_GROUPS
from bcdseg.evaluation.measures.measure import NONE, shown
from bcdseg.evaluation.metrics.detection import FOUND_FROM
from bcdseg.evaluation.report.blocks import escape
from bcdseg.messages import counted

if TYPE_CHECKING:
    from bcdseg.evaluation.measures.measure import Measure
    from bcdseg.evaluation.results import Evaluation

CLINICAL = ("ppv", "npv", "number_needed_to_biopsy", "calibration_slope", "calibration_intercept")
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\u2013": "--",
        "²": r"\textsuperscript{2}",
        "“": "``",
        "”": "''",
    }
)


def paper_markdown(evaluation: Evaluation) -> str:
    """Return a methods paragraph and a table of results in Markdown, to be checked and completed by the authors."""
    rows = [f"| measure | value{' (95 % interval)' if evaluation.draws else ''} | scans | groups |", "|---|---|---|---|"]
    rows += [f"| {' | '.join(map(escape, row))} |" for row in _rows(evaluation)]
    return "\n".join(["## Methods", "", escape(methods(evaluation)), "", "## Results", "", *rows, ""])


def paper_latex(evaluation: Evaluation) -> str:
    r"""Return a methods paragraph and a table of results in LaTeX; the table needs the package ``booktabs``."""
    heading = r"Value (95\,\% interval)" if evaluation.draws else "Value"
    intervals = ", with 95 % intervals over groups" if evaluation.draws else ""
    caption = f"Performance of {evaluation.model} on {evaluation.dataset}{intervals}."
    return "\n".join(
        [
            r"\subsection*{Methods}",
            _latex(methods(evaluation)),
            "",
            r"\begin{table}",
            rf"\caption{{{_latex(caption)}}}",
            r"\begin{tabular}{llrr}",
            r"\toprule",
            rf"Measure & {heading} & Scans & Groups \\",
            r"\midrule",
            *(f"{' & '.join(map(_latex, row))} \\\\" for row in _rows(evaluation)),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def methods(evaluation: Evaluation) -> str:
    """Return a methods paragraph about test data, comparison with the reference and statistics."""
    return " ".join([*_data(evaluation), *_comparison(evaluation), *_statistics(evaluation)])


def _data(evaluation: Evaluation) -> Iterable[str]:
    cases, groups = evaluation.cases, Counter(evaluation.cases.groups)
    counts = ", ".join(f"{count} {name}" for name, count in evaluation.counts.items())
    yield (
        f"The model {evaluation.model} was evaluated on {counted(len(cases), 'breast ultrasound scan')} of {evaluation.dataset}"
        f"{f' ({counts})' if counts else ''}, in {counted(len(groups), 'group')} of scans of one patient or copies of one scan."
    )
    if evaluation.problems:
        yield f"The evaluation excludes {counted(len(evaluation.problems), 'scan')} that could not be read."
    yield {
        "none": "None of these scans, no detected copy of them and none of their groups was used in training or model selection.",
        "unknown": "Whether the model had been trained on any of these scans is not known.",
        "allowed": "Some of these scans or of their groups were used in training or model selection.",
    }[evaluation.training_overlap]


def _comparison(evaluation: Evaluation) -> Iterable[str]:
    cases = evaluation.cases
    if cases.has_mask.any():
        yield (
            "Predicted masks were compared with the reference masks at the scans' own size, over "
            f"{counted(int(cases.lesion.sum()), 'scan')} with a lesion. A scan in which nothing was outlined was counted with a "
            "Dice of 0 and with the image's diagonal as its surface distance. A lesion was counted as found when a predicted "
            f"region overlapped it with an IoU of at least {FOUND_FROM}."
        )
    if cases.has_class.any():
        yield f"Predicted classes were compared with the reference classes of {counted(int(cases.has_class.sum()), 'scan')}."
        if "rules" in evaluation.about:
            yield (
                "The class of the highest probability was predicted. "
                + (
                    "Calibration and thresholds had been fixed on validation scans."
                    if evaluation.about.get("calibration")
                    else "Thresholds had been fixed before these scans were predicted."
                )
            )


def _statistics(evaluation: Evaluation) -> Iterable[str]:
    if evaluation.draws:
        yield (
            f"95 % intervals are from a bootstrap of {evaluation.draws} draws of whole groups, stratified by class (seed "
            f"{evaluation.seed}); measures from fewer than {FEWEST_GROUPS} groups have none."
        )
    if evaluation.subgroups is not None:
        known = [
            change for one in evaluation.subgroups.subgroups for change in one.differences.values() if change.value is not None
        ]
        yield (
            f"Performance was compared by {' and '.join(evaluation.subgroups.facts)} on the same draws: "
            f"{counted(len(known), 'difference')}, without adjustment for multiple comparisons."
        )
    yield f"The evaluation was done with bcdseg {__version__}."


def _rows(evaluation: Evaluation) -> Iterable[Sequence[str]]:
    for one in _measures(evaluation):
        found = evaluation.estimates[one.name]
        value = NONE if found.value is None else shown(found, one.unit)
        yield one.title, value, str(found.n), str(found.groups)


def _measures(evaluation: Evaluation) -> Iterable[Measure]:
    shown_first = list(evaluation.headlines)
    yield from shown_first
    for one in evaluation.measures:
        if one not in shown_first and (one.name.partition("@")[0] in CLINICAL or one.section == "custom"):
            yield one


def _latex(text: str) -> str:
    return text.translate(LATEX)
