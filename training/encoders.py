"""One table of all encoders that ``cross_validate.py`` was run for: what each gives and costs, measured on the same folds.

    python training/encoders.py BUSI256 WORK [--folds 0 1] > table.md

An encoder is left out of which not all these folds were trained. Times are of the machine that it runs on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from options import parser
from out_of_fold import measure, networks
from recipe import MODEL
from reports import figures
from scans import FOLDS, Scans, open_scans

from bcdseg.benchmarking.cost import gflops, parameters, seconds_per_scan


def column(scans: Scans, folder: Path, folds: list[int]) -> dict[str, str]:
    """What an encoder gives and costs, a row each."""
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "report"
        measure(scans, folder, out, folds=folds)
        gives = figures(out / "report.json")
    model = networks(folder, folds[:1])[folds[0]]
    return gives | {
        "parameters": f"{parameters(model) / 1e6:.1f} million",
        "GFLOPs": f"{gflops(model):.2f}",
        "ms a scan, torch": f"{seconds_per_scan(model, scans.fold(0)[2]) * 1000:.0f}",
    }


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--folds", type=int, nargs="*", default=list(range(FOLDS)), help="which of them, by default all")
    options = asked.parse_args()
    scans = open_scans(options.data)
    trained = [
        one for one in sorted(options.work.iterdir()) if all((one / f"fold-{fold}" / MODEL).is_dir() for fold in options.folds)
    ]
    columns = {folder.name: column(scans, folder, options.folds) for folder in trained}
    print("| |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} |", " | ".join(told[row] for told in columns.values()), "|")


if __name__ == "__main__":
    main()
