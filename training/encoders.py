"""One table of all encoders that ``cross_validate.py`` and ``out_of_fold.py`` were run for: what each gives and costs.

    python training/encoders.py BUSI256 WORK > table.md

Times are of the machine that it runs on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from out_of_fold import REPORT, networks
from reports import figures
from scans import open_scans

from bcdseg.benchmarking.cost import gflops, parameters, seconds_per_scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    parser.add_argument("work", type=Path, help="where the runs are kept")
    options = parser.parse_args()
    timed_on = open_scans(options.data).fold(0)[2]
    columns = {}
    for report in sorted(options.work.glob(f"*/{REPORT}/report.json")):
        model = next(networks(report.parents[1]))
        costs = {
            "parameters": f"{parameters(model) / 1e6:.1f} million",
            "GFLOPs": f"{gflops(model):.2f}",
            "ms a scan, torch": f"{seconds_per_scan(model, timed_on) * 1000:.0f}",
        }
        columns[report.parents[1].name] = figures(report) | costs
    print("| |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for row in next(iter(columns.values())):
        print(f"| {row} |", " | ".join(column[row] for column in columns.values()), "|")


if __name__ == "__main__":
    main()
