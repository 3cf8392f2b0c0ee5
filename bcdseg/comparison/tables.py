"""Markdown, CSV and JSON of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bcdseg import __version__
from bcdseg.evaluation.measures.intervals import Difference, estimate
from bcdseg.evaluation.measures.measure import NONE, shown, shown_difference, with_unit
from bcdseg.table_text import csv_text

if TYPE_CHECKING:
    from bcdseg.comparison.result import Benchmark, Entry, PairedDifference
    from bcdseg.evaluation.measures.measure import Measure

FORMAT, VERSION = "bcdseg benchmark result", 2
ABREAST = 4  # number of recipes in one table
COSTS = ("recipe", "parameters", "GFLOPs", "ms per scan", "training minutes per fold", "device")
FIGURES = ("value", "low", "high", "n", "groups", "note")


def markdown(benchmark: Benchmark) -> str:
    """Return results, costs, differences and the effect of a random split as Markdown."""
    folds, first = len(benchmark.entries[0].folds), benchmark.entries[0]
    lines = [
        f"# Benchmark on {benchmark.dataset}",
        "",
        f"{len(first.cases)} scans in {len(set(first.cases.groups))} groups, {folds} folds; no patient and no copy of a scan is in "
        "two parts of a fold. Each scan is predicted by the one model that was not trained on it. "
        "95 % intervals, from a bootstrap over groups, are in brackets.",
        "",
        *_fewer(benchmark.entries),
        *_blocks(benchmark.entries),
        *_meanings(benchmark.entries),
        "",
        "## Cost",
        "",
        *_table(COSTS, _costs(benchmark.entries)),
        "",
        "GFLOPs are billions of additions and multiplications per scan. Milliseconds are from file to prediction, scan by scan.",
    ]
    if benchmark.pairs:
        lines += ["", "## Differences", "", *_differences(benchmark)]
    if benchmark.leaks:
        lines += ["", "## Results on random splits", "", *_leaks(benchmark)]
    return "\n".join(lines) + "\n"


def as_csv(benchmark: Benchmark) -> bytes:
    """Return a CSV with one line per recipe, kind of folds and measure."""
    rows: list[list[Any]] = []
    for entry in (*benchmark.entries, *benchmark.leaky):
        for measure in entry.measures:
            found = asdict(entry.estimates[measure.name])
            better = "" if measure.higher_is_better is None else str(measure.higher_is_better).lower()
            rows.append([entry.recipe, entry.kind, measure.name, measure.unit, better, *(found[name] for name in FIGURES)])
    return csv_text(["recipe", "folds", "measure", "unit", "higher_is_better", *FIGURES], rows).encode()


def as_data(benchmark: Benchmark) -> dict[str, Any]:
    """Return everything but the results tables, in JSON types."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "library_version": __version__,
        "dataset": benchmark.dataset,
        "bootstrap": {"draws": benchmark.draws, "seed": benchmark.seed, "interval": 0.95, "over": "groups"},
        "entries": [_entry(entry) for entry in (*benchmark.entries, *benchmark.leaky)],
        "differences": [_pair(pair) for pair in benchmark.pairs],
        "leaks": [_pair(pair) for pair in benchmark.leaks],
    }


def _fewer(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the recipes that are for some of the classes only."""
    for entry in entries:
        if len(entry.cases) < max(len(one.cases) for one in entries):
            yield f"{entry.recipe} is for {' and '.join(entry.cases.classes)} only: {len(entry.cases)} scans."
            yield ""


def _blocks(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield tables of a few recipes side by side, one after the other."""
    for start in range(0, len(entries), ABREAST):
        some = entries[start : start + ABREAST]
        yield from _table(["", *(entry.recipe for entry in some)], _figures(some))
        yield ""


def _figures(entries: Sequence[Entry]) -> Iterator[list[str]]:
    """Yield one row per headline measure that any recipe has."""
    for measure in _headlines(entries):
        cells = [
            shown(entry.estimates[measure.name], measure.unit) if measure.name in entry.estimates else NONE for entry in entries
        ]
        arrow = {True: " ↑", False: " ↓", None: ""}[measure.higher_is_better]
        yield [measure.title + arrow, *cells]


def _headlines(entries: Sequence[Entry]) -> list[Measure]:
    longest = max(entries, key=lambda entry: len(entry.headlines))
    found = {measure.name: measure for entry in (longest, *entries) for measure in entry.headlines}
    return list(found.values())


def _meanings(entries: Sequence[Entry]) -> Iterator[str]:
    yield "↑ higher is better, ↓ lower is better."
    yield ""
    for measure in _headlines(entries):
        yield f"- {measure.title}: {measure.definition}"
    notes = {
        f"- {entry.recipe}, {measure.title}: {note}."
        for entry in entries
        for measure in entry.headlines
        if (note := entry.estimates[measure.name].note)
    }
    yield from sorted(notes)


def _costs(entries: Sequence[Entry]) -> Iterator[list[str]]:
    for entry in entries:
        cost = entry.cost
        times = [f"{cost.seconds_per_scan * 1000:.0f}", f"{cost.training_minutes:.1f}", cost.device]
        yield [entry.recipe, f"{cost.parameters / 1e6:.2f} M", f"{cost.gflops:.2f}", *times]


def _differences(benchmark: Benchmark) -> Iterator[str]:
    yield "Second minus first on the same scans and draws (paired bootstrap). One such interval in twenty misses the true"
    yield "difference by chance, so one difference among many proves little."
    names = {measure.name for entry in benchmark.entries for measure in entry.headlines}
    for pair in benchmark.pairs:
        rows = [_row(one, pair.first, pair.second) for name, one in pair.differences.items() if name in names]
        yield from ("", f"### {pair.second} against {pair.first}", "")
        yield from _table(["", pair.first, pair.second, "difference", "better"], rows)


def _leaks(benchmark: Benchmark) -> Iterator[str]:
    """Yield the table of how much better each recipe seems when copies of test scans are in the training part."""
    if all(len(set(entry.cases.groups)) == len(entry.cases) for entry in benchmark.entries):
        yield "There is no leakage: no two scans are known to be copies or of one patient."
        return
    yield "The same recipes on random folds, where copies of a test scan and scans of its patient may be among the training scans."
    for pair, leaky in zip(benchmark.leaks, benchmark.leaky, strict=True):
        shown_here = [pair.differences[measure.name] for measure in leaky.headlines if measure.name in pair.differences]
        yield from ("", f"### {leaky.recipe}", "")
        rows = [_row(one, "grouped folds", "random folds") for one in shown_here]
        yield from _table(["", "grouped folds", "random folds", "difference", "better"], rows)


def _row(one: Difference, first: str, second: str) -> list[str]:
    unit, found = one.measure.unit, one.difference
    values = [NONE if value is None else with_unit(value, unit) for value in (one.first, one.second)]
    neither = "not shown" if found.low is not None else "equal" if found.value == 0 else found.note
    verdict = {"first": first, "second": second}.get(one.better or "", neither)
    return [one.measure.title, *values, shown_difference(found, unit), verdict]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "recipe": entry.recipe,
        "folds": entry.kind,
        "scans": len(entry.cases),
        "groups": len(set(entry.cases.groups)),
        "classes": list(entry.cases.classes),
        "cost": asdict(entry.cost),
        "measures": [
            {"name": one.name, "title": one.title, "definition": one.definition, "section": one.section, "unit": one.unit}
            | {"higher_is_better": one.higher_is_better, **asdict(entry.estimates[one.name])}
            for one in entry.measures
        ],
        "each_fold": [
            {
                "fold": fold.number,
                "scans": len(fold.cases),
                "epochs": fold.epochs,
                "best_epoch": fold.best_epoch,
                **asdict(fold.cost),
            }
            | {"best_score_on_validation": fold.best_score}
            | {"measures": {name: one.value for name, one in estimate(fold.cases, entry.headlines, draws=0).items()}}
            for fold in entry.folds
        ],
    }


def _pair(pair: PairedDifference) -> dict[str, Any]:
    rows = [
        {"name": name, "first": one.first, "second": one.second, **asdict(one.difference)} for name, one in pair.differences.items()
    ]
    return {"first": pair.first, "second": pair.second, "differences": rows}
