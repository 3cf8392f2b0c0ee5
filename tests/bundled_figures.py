"""Figures of the bundled models on the sample scans, as released: `python tests/bundled_figures.py` writes their table."""

from __future__ import annotations

import csv
from pathlib import Path

import bcdseg

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
SCANS = sorted(path for path in SAMPLE.glob("*/*.png") if "_mask" not in path.stem)
TABLE = Path(__file__).with_name("bundled_figures.csv")
FIELDS = ("model", "scan", "label", "lesions", "area_px", "probability")
Row = dict[str, str | int | float | None]


def figures(scan: bcdseg.Prediction) -> Row:
    """Return one row of the table: class, lesions, their area, and the probability of the class."""
    assert scan.mask is not None
    assert scan.label is not None
    probability = round(scan.probabilities[scan.label], 4)
    values = (scan.model, Path(scan.source).stem, scan.label, len(scan.lesions), int(scan.mask.sum()), probability)
    return dict(zip(FIELDS, values, strict=True))


def read_table(model: str) -> list[Row]:
    """Return the rows of a model, in the order of ``SCANS``."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == model]
    kinds = {"lesions": int, "area_px": int, "probability": float}
    return [{name: kinds.get(name, str)(value) for name, value in row.items()} for row in rows]


if __name__ == "__main__":
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        table.writeheader()
        for record in bcdseg.models():
            table.writerows(map(figures, bcdseg.load(record.name, device="cpu", runtime="torch").predict(SCANS)))
