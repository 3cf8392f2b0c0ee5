"""Print the figures of a hospital by machine, BI-RADS category and size of the lesion.

    python training/hospitals/subgroups.py PACKED.npz RUNS bus-bra BUS_BRA

Machine and BI-RADS come from the data set's table (``Sample.facts``). Small, middle and large lesions are thirds by area.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from choose_rules import measured, read
from figures import Cases, Measure, interval, lesion_dice, malignant_auc, missed
from numpy.typing import NDArray
from pack import Packed
from report import hospital_parser

import bcdseg

FACTS = {"device": "machine", "birads": "BI-RADS"}
SIZES = ("small", "middle", "large")
FEWEST = 20  # scans; smaller subgroups have no row
SHOWN: dict[str, Measure] = {"lesion Dice": lesion_dice, "missed": missed, "malignant/benign AUC": malignant_auc}


def subgroups(
    packed: Packed, rows: NDArray[np.int64], data: bcdseg.Dataset, hospital: str
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the name of each subgroup, and which of the rows belong to it."""
    facts = {f"{hospital}/{sample.id}": sample.facts for sample in data}
    for fact, name in FACTS.items():
        values = np.array([str(facts[scan].get(fact, "")) for scan in packed.ids[rows]])
        for value in sorted(set(values) - {""}):
            yield f"{name} {value}", values == value
    areas = packed.masks[rows].mean(axis=(1, 2))
    edges = np.quantile(areas[areas > 0], [0, 1 / 3, 2 / 3, 1])
    for name, low, high in zip(SIZES, edges[:-1], edges[1:], strict=True):
        yield f"{name} lesions ({low:.1%} to {high:.1%} of the square)", (areas > 0) & (areas >= low) & (areas <= high)


def table(some: Cases, groups: Iterator[tuple[str, NDArray[np.bool_]]]) -> str:
    """Return a Markdown table with one row per subgroup."""
    lines = ["| | scans | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 2) + "|"]
    for name, chosen in groups:
        if chosen.sum() < FEWEST:
            continue
        cells = []
        for measure in SHOWN.values():
            value, low, high = interval(some.select(chosen), measure)
            cells.append("-" if not np.isfinite(value) else f"{value:.3f} ({low:.3f} to {high:.3f})")
        lines.append(f"| {name} | {int(chosen.sum())} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = hospital_parser(__doc__)
    options = parser.parse_args()
    packed, data = Packed.load(options.packed), bcdseg.open_dataset(options.folder)
    sets = read(packed, options.runs)
    rows = {one.name: one.outputs.rows for one in sets}
    for name, some in measured(packed, sets).items():
        if name.startswith(options.hospital):
            print(f"\n{name}\n")
            print(table(some, subgroups(packed, rows[name], data, options.hospital)))


if __name__ == "__main__":
    main()
