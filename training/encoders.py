"""One table of all encoders that ``cross_validate.py`` was run for: figures and costs of each, measured on the same folds.

    python training/encoders.py BUSI256 WORK [--folds 0 1] [--against tu-tf_efficientnet_lite0] > table.md

An encoder is left out if some of these folds were not trained with it. Times are those of the machine that runs the script. With
``--against``, the script also prints the difference of each other encoder from that one, on the same draws of the same scans.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from options import comparison_parser
from out_of_fold import measure, networks
from recipe import MODEL
from reports import figures
from scans import FOLDS, Scans, open_scans

from bcdseg import Evaluation
from bcdseg.comparison.store import gflops, parameters, seconds_per_scan

COMPARED = ("dice", "missed_scan_rate", "false_lesion_rate", "accuracy", "balanced_accuracy", "roc_auc/malignant", "ece")


def column(scans: Scans, folder: Path, folds: list[int]) -> tuple[Evaluation, dict[str, str]]:
    """Return the evaluation of an encoder, and its figures and costs by the title of their row."""
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "report"
        found = measure(scans, folder, out, folds=folds)
        measured = figures(out / "report.json")
    model = networks(folder, folds[:1])[folds[0]]
    return found, measured | {
        "parameters": f"{parameters(model) / 1e6:.1f} million",
        "GFLOPs": f"{gflops(model):.2f}",
        "ms a scan, torch": f"{seconds_per_scan(model, scans.fold(0)[2]) * 1000:.0f}",
    }


def differences(found: Mapping[str, Evaluation], base: str) -> Iterator[str]:
    """Yield one line for each other encoder and measure."""
    for name in (other for other in found if other != base):
        compared = found[name].compare(found[base])
        yield from ("", *(f"- {compared.sentence(measure)}" for measure in COMPARED))


def main() -> None:
    parser = comparison_parser(__doc__)
    parser.add_argument("--against", help="the encoder that the others are compared with")
    parser.add_argument("--folds", type=int, nargs="*", default=list(range(FOLDS)), help="numbers of the folds, by default all")
    options = parser.parse_args()
    scans = open_scans(options.data)
    trained = [
        one for one in sorted(options.work.iterdir()) if all((one / f"fold-{fold}" / MODEL).is_dir() for fold in options.folds)
    ]
    if not trained:
        parser.error(f"{options.work}: contains no encoder that was trained on all of these folds. cross_validate.py trains them.")
    if options.against and options.against not in {folder.name for folder in trained}:
        parser.error(f"--against {options.against}: not all of these folds were trained with it.")
    measured = {folder.name: column(scans, folder, options.folds) for folder in trained}
    columns = {name: rows for name, (_, rows) in measured.items()}
    print("| |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} |", " | ".join(texts[row] for texts in columns.values()), "|")
    if options.against:
        print(*differences({name: found for name, (found, _) in measured.items()}, options.against), sep="\n")


if __name__ == "__main__":
    main()
