"""The page "What 98 % is worth", written from the finished runs; what is not finished is listed as not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from figures import (
    ACCURACY,
    AUC,
    COLUMNS,
    DICE,
    HELD_BACK,
    Finished,
    columns_of,
    finished,
    gain,
    masked_form,
    mean_over_seeds,
    share,
)
from picture import Row, draw
from plan import FIELD, MAMMOGRAMS, RANDOM, WAYS, WITHOUT_IMAGENET, RunPlan

from bcdseg.evaluation.measures.measure import Estimate
from bcdseg.evaluation.results_table import Cases
from bcdseg.files import write_whole
from bcdseg.training.recipes import MASK

NAME = "what-98-percent-is-worth"
NONE = "–"  # noqa: RUF001 - an en dash, as in the library's tables
CONSTANT = "benign"
WHERE = {
    "random split": "by random split",
    "no copies across": "when no near-copy of a training scan is among the test scans",
    "BUS-BRA": "at the hospital of BUS-BRA",
    "BUS-UCLM": "at the hospital of BUS-UCLM",
}
NOTES = """\
Brackets are 95 % intervals from a bootstrap over patients and groups of near-duplicates. They cover the choice of test scans for
these networks; where several seeds were run, figures are their means.

- **claimed**: the accuracy that the authors of such systems state; `bcdseg recipes NAME` prints the source of a recipe.
- **random split**: a fifth of BUSI's scans is held back at random, as these authors do. Near-copies of test scans are among the
  training scans.
- **no copies across**: the same, but near-duplicates stay in one part.
- **BUS-BRA, BUS-UCLM**: the networks of the random split on all scans of two other hospitals, on which they were not trained.
  BUS-BRA has no normal scans; recipes for two classes are tested on benign and malignant scans only.
- **benign for every scan**: the accuracy of predicting benign for every scan.
- The mammogram recipe is trained and tested on mini-MIAS: by scan (random split), and by patient (no copies across).
"""
MASKS = """\
## Gain from masks

The same recipe with a decoder that also learns the masks (`+mask`) minus the bare one, on the same scans and draws.

| recipe | tested on | seeds | accuracy | ROC-AUC, malignant | Dice |
|---|---|---|---|---|---|"""
AGAIN = """\
## How to run it

```console
$ python training/field/run.py DATA WORK            # trains and tests; a stopped run resumes
$ python training/field/run.py DATA WORK --page     # writes this page from what is finished
```

`DATA` contains the folders `busi256`, `bus_bra`, `bus_uclm` and `mias150`. Two CPU cores can't run every recipe at full length:
`training/field/plan.py` caps the epochs, `--full` lifts the caps, and `--estimate` measures what an epoch costs on a machine.
The epoch is chosen on a validation part, a tenth of the scans that are not tested, which shares no group with the training part.
ImageNet weights come from the hub, or from files in a folder (`--weights`). Where neither has them, a recipe starts from random
weights, as shown in the table above.
"""


def write_page(runs: Sequence[RunPlan], work: Path, folder: Path) -> None:
    """Write page and picture into a folder; without any finished run, nothing."""
    found = finished(runs, work)
    if not found:
        raise SystemExit(f"{work}: no run is finished, so there is nothing to write yet.")
    bare = [one for one in found if not one.recipe.endswith(MASK)]
    measured = {id(one): {name: _column(one, name) for name in (ACCURACY, AUC)} for one in found}
    rows = [
        Row(_title(one), _claimed(one), measured[id(one)][ACCURACY], share(_held_back(one), CONSTANT))
        for one in bare
        if _held_back(one)
    ]
    text = "\n".join(
        [
            "# What 98 % is worth",
            "",
            *_lead(rows, bare),
            f"![Accuracy of each recipe: claimed, by random split, without copies across parts, at other hospitals]({NAME}.png)",
            "",
            *_table("Accuracy", rows, bare, measured, ACCURACY),
            NOTES,
            *_constant_networks(bare),
            *_table("ROC-AUC, malignant against the rest", [], bare, measured, AUC),
            "The ROC-AUC depends neither on the threshold nor on how common each class is: 0.5 is chance.",
            "",
            *_masks(found),
            *_runs(found, runs),
            AGAIN,
        ]
    )
    write_whole(folder / f"{NAME}.png", draw(rows), overwrite=True)
    write_whole(folder / f"{NAME}.md", text.encode(), overwrite=True)


def _column(of: Finished, measure: str) -> dict[str, Estimate]:
    """Return the estimate of a measure in each column of the table that was run."""
    tables = {title: of.tables(*place) for title, place in columns_of(of.data).items()}
    return {title: found for title, some in tables.items() if (found := mean_over_seeds(some, [measure]).get(measure)) is not None}


def _lead(rows: Sequence[Row], bare: Sequence[Finished]) -> Iterator[str]:
    """Yield the first paragraph: the claimed accuracy, and that of the same recipe here."""
    for row in rows:
        if row.claimed is not None and row.measured:
            parts = [f"{100 * one.value:.0f} % {WHERE[title]}" for title, one in row.measured.items() if one.value is not None]
            yield f"**{_claim(row.claimed)} accuracy is claimed for systems like `{row.name.partition(',')[0]}`."
            yield f"The same recipe reaches {_list(parts)}.** {_effort(next(one for one in bare if _title(one) == row.name))}"
            yield ""
            return


def _effort(of: Finished) -> str:
    """Return a sentence on the number of runs and their epochs, so that a short run is recognised as such."""
    facts = [result.facts for result in of.results.values()]
    epochs = f"{_range([fact['epochs run'] for fact in facts])} of the {facts[0]['epochs claimed']} epochs that are claimed"
    runs = "one run" if len(facts) == 1 else f"{len(facts)} runs"
    return f"These are the figures of {runs} of {epochs}; validation scans chose the epoch."


def _table(
    title: str, rows: Sequence[Row], bare: Sequence[Finished], measured: dict[int, dict[str, dict[str, Estimate]]], measure: str
) -> Iterator[str]:
    claims = bool(rows)
    head = ["recipe", *(["claimed"] if claims else []), *COLUMNS]
    yield from (f"## {title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|")
    shown = _percent if measure == ACCURACY else _score
    for one in bare:
        cells = [shown(found) if (found := measured[id(one)][measure].get(name)) else _missing(one, name) for name in COLUMNS]
        claimed = _claimed(one)
        yield f"| {' | '.join([_title(one), *([_claim(claimed) if claimed else NONE] if claims else []), *cells])} |"
    if claims:
        for name, one in _constant(bare):
            cells = [_claim(share(some, CONSTANT)) if (some := one.tables(*place)) else NONE for place in COLUMNS.values()]
            yield f"| *{name}* | {NONE} | {' | '.join(cells)} |"
    yield ""


def _constant(bare: Sequence[Finished]) -> Iterator[tuple[str, Finished]]:
    """Yield the first recipe of each kind of scans, on which the constant prediction is measured."""
    first: dict[str, Finished] = {}
    for one in bare:
        kind = "three classes" if one.recipe.endswith("3class") else "two classes"
        first.setdefault("mammograms" if one.data == MAMMOGRAMS else kind, one)
    for kind in first:
        yield f"benign for every scan, {kind}", first[kind]


def _predicted(one: Finished) -> set[str]:
    """Return the classes that the networks of a recipe predict for scans that were held back at random."""
    return {table.classes[number] for table in _held_back(one).values() for number in table.probabilities.argmax(axis=1)}


def _constant_networks(bare: Sequence[Finished]) -> Iterator[str]:
    """Yield a paragraph for each recipe whose networks predict one class for every held-back scan."""
    for one in bare:
        if len(classes := _predicted(one)) == 1:
            facts = [result.facts for (way, _), result in one.results.items() if way == RANDOM]
            epochs = f"{_range([fact['epochs run'] for fact in facts])} of {facts[0]['epochs claimed']} epochs"
            yield f"**`{one.recipe}` predicts {classes.pop()} for every held-back scan**: {epochs} from these initial weights"
            yield "taught it nothing, so its row doesn't measure the recipe."
            yield ""


def _missing(one: Finished, column: str) -> str:
    return "not run" if column in columns_of(one.data) else NONE


def _masks(found: Sequence[Finished]) -> Iterator[str]:
    yield MASKS
    lines = [line for one in found if (other := masked_form(one, found)) is not None for line in _gains(one, other)]
    yield from (lines or [f"| {NONE} | not run | 0 | {NONE} | {NONE} | {NONE} |"])
    yield from ("", "Dice is that of the `+mask` form, over scans with a lesion; a missed lesion counts as 0.", "")


def _gains(bare: Finished, masked: Finished) -> Iterator[str]:
    for title, (way, test) in columns_of(bare.data).items():
        seeds, changes = gain(bare, masked, way, test, (ACCURACY, AUC))
        if seeds:
            dice = mean_over_seeds(masked.tables(way, test), [DICE]).get(DICE)
            cells = [
                _points(changes[ACCURACY].difference),
                _signed(changes[AUC].difference),
                NONE if dice is None else _score(dice),
            ]
            yield f"| {_title(bare)} | {title} | {seeds} | {' | '.join(cells)} |"


def _runs(found: Sequence[Finished], runs: Sequence[RunPlan]) -> Iterator[str]:
    yield from (
        "## What was run",
        "",
        "| recipe | split | seeds | epochs run of claimed | epoch chosen | initial weights | minutes per run |",
    )
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        for way in WAYS:
            some = [result.facts for (of, _), result in one.results.items() if of == way]
            if some:
                epochs = _range([fact["epochs run"] for fact in some])
                minutes = _range([round(fact["training seconds"] / 60) for fact in some])
                chosen = _range([fact.get("best epoch", 0) for fact in some])
                weights = some[0]["weights"].partition(", as ")[0]  # "random" where the recipe starts from random weights
                cells = (len(some), f"{epochs} of {some[0]['epochs claimed']}", chosen, weights, minutes)
                yield f"| {_title(one)} | {way} | {' | '.join(map(str, cells))} |"
    done = {(one.recipe, way, seed) for one in found for way, seed in one.results}
    left = [run for run in runs if (run.recipe, run.way, run.seed) not in done]
    yield from (
        "",
        f"{len(runs) - len(left)} of {len(runs)} planned runs are finished. Minutes are those of a machine that was busy with "
        "other work. Not run:",
        "",
        *_left(left),
    )


def _left(left: Sequence[RunPlan]) -> Iterator[str]:
    for way in WAYS:
        seeds: dict[str, list[int]] = {}
        for run in left:
            if run.way == way:
                seeds.setdefault(run.recipe, []).append(run.seed)
        if seeds:
            listed = ", ".join(f"`{name}` ({min(some)} to {max(some)})" for name, some in seeds.items())
            yield f"- {'random split' if way == RANDOM else 'no copies across'}, recipe and seeds: {listed}"
    yield ""


def _held_back(one: Finished) -> dict[int, Cases]:
    return one.tables(RANDOM, HELD_BACK)


def _claimed(one: Finished) -> float | None:
    return next(entry.claimed for entry in FIELD if entry.recipe == one.recipe.removesuffix(MASK))


def _title(one: Finished) -> str:
    """Return the name of a recipe, with what a reader of the table must know."""
    without = any(result.facts["weights"] == WITHOUT_IMAGENET for result in one.results.values())
    alone = "".join(f", predicts {name} alone" for name in classes) if len(classes := _predicted(one)) == 1 else ""
    return one.recipe + ", mammograms" * (one.data == MAMMOGRAMS) + ", without ImageNet weights" * without + alone


def _claim(value: float) -> str:
    return f"{100 * value:.0f} %"


def _percent(one: Estimate) -> str:
    return _shown(one, lambda value: f"{100 * value:.0f}", " %")


def _score(one: Estimate) -> str:
    return _shown(one, lambda value: f"{value:.2f}")


def _points(one: Estimate) -> str:
    return _shown(one, lambda value: f"{round(100 * value) + 0:+d}", " points")


def _signed(one: Estimate) -> str:
    return _shown(one, lambda value: f"{round(value, 2) + 0.0:+.2f}")


def _shown(one: Estimate, number: Callable[[float], str], unit: str = "") -> str:
    if one.value is None:
        return NONE
    ends = "" if one.low is None or one.high is None else f" ({number(one.low)} to {number(one.high)})"
    return f"{number(one.value)}{unit}{ends}"


def _range(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
