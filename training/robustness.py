"""Figures on degraded scans, each scan predicted by the network that was not trained on it.

    python training/robustness.py BUSI256 WORK --encoder tu-tf_efficientnet_lite0 > table.md

Every degradation of ``bcdseg.measure_robustness`` is applied at its middle strength, the same for each network of
``cross_validate.py``. The first row has 95 % intervals; the others have the difference from it, with an interval of the same draws
(paired).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from zlib import crc32

from calibration import calibrated_by_other_folds
from options import encoder_parser
from out_of_fold import networks
from scans import Scans, open_scans

from bcdseg import Model, Sample
from bcdseg.evaluation.case_results import Change, predict_cases
from bcdseg.evaluation.corruptions import CORRUPTIONS, corrupt
from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import Difference, compare, estimate
from bcdseg.evaluation.measures.measure import NONE, shown, shown_difference
from bcdseg.evaluation.measures.measure import number as number_text
from bcdseg.evaluation.results_table import Cases, table_of
from bcdseg.types import Mask, Pixels

REPORTED = ("dice", "false_lesion_rate", "balanced_accuracy", "roc_auc/malignant", "ece")


def changes() -> Iterator[tuple[str, Change | None]]:
    """Yield the name of each change of the scans, and the change."""
    yield "as they are", None
    for kind in CORRUPTIONS.values():
        strength = kind.strengths[len(kind.strengths) // 2]
        yield f"{kind.name} {strength:g}", _change(kind.name, strength)
    yield "mirrored", lambda _, pixels, mask: (pixels[:, ::-1], None if mask is None else mask[:, ::-1])


def _change(name: str, strength: float) -> Change:
    def change(sample: Sample, pixels: Pixels, mask: Mask | None) -> tuple[Pixels, Mask | None]:
        return corrupt(pixels, mask, name, strength, seed=(crc32(sample.id.encode()),))

    return change


def measured(scans: Scans, models: Mapping[int, Model], change: Change | None) -> Cases:
    """Return the results of all folds."""
    cases = [result.case for fold, model in models.items() for result in predict_cases(model, scans.fold(fold)[2], change=change)]
    return table_of(cases, classes=models[0].classes, no_lesion=models[0].no_lesion)


def main() -> None:
    options = encoder_parser(__doc__).parse_args()
    scans = open_scans(options.data)
    models = calibrated_by_other_folds(scans, networks(options.work / options.encoder))
    for number, (name, change) in enumerate(changes()):
        table = measured(scans, models, change)
        measures = tuple(measure for measure in all_measures(table) if measure.name in REPORTED)
        if number == 0:
            original = table
            print("| scans |", " | ".join(measure.title for measure in measures), "|")
            print("|---|" + "---|" * len(measures))
            found = estimate(table, measures)
            cells = [shown(found[measure.name], measure.unit) for measure in measures]
        else:
            apart = compare(original, table, measures, same_truth=False)
            cells = [_change_cell(apart[measure.name]) for measure in measures]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def _change_cell(found: Difference) -> str:
    """Return a value, and its difference from the original scans with a paired interval."""
    unit = found.measure.unit
    value = NONE if found.second is None else number_text(found.second, unit)
    return f"{value}; {shown_difference(found.difference, unit)}"


if __name__ == "__main__":
    main()
