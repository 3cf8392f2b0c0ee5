"""Commands ``bcdseg benchmark`` and ``bcdseg recipes``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.cli import options as common
from bcdseg.cli.options import DataOptions, option_group
from bcdseg.terminal import make_console, printable

if TYPE_CHECKING:
    from rich.console import Console

    from bcdseg.comparison.result import Benchmark
    from bcdseg.training.recipes import Recipe

in_comparison = option_group("Comparison")

RecipeNames = Annotated[str, in_comparison(metavar="NAMES", help="Recipes, with commas between; bcdseg recipes lists them.")]
Folds = Annotated[int, in_comparison(min=2, metavar="N", help="Number of folds.")]
Settings = Annotated[
    list[str] | None,
    in_comparison("--set", metavar="KEY=VALUE", help="A training option of all recipes, such as epochs=20; may be repeated."),
]
Seed = Annotated[int, in_comparison(min=0, metavar="N", help="Seed of folds, training and intervals.")]
Val = Annotated[float, in_comparison(metavar="FRACTION", help="Fraction of each training part for validation.")]
ShowLeak = Annotated[bool, in_comparison("--show-leak", help="Compare with random folds: by how much a leaky split flatters.")]
Copies = Annotated[
    str, in_comparison(metavar="NAME", help="Measure on all scans, or on the first of each set of copies: all, first.")
]
FromScratch = Annotated[bool, in_comparison("--from-scratch", help="Start from random weights where a recipe would download some.")]
Size = Annotated[
    int | None,
    in_comparison(min=32, metavar="PIXELS", help="Height and width of the input of all recipes.  [default: each recipe's]"),
]


def benchmark_command(
    data: common.DataSet,
    out: common.Out = Path("benchmark"),
    recipes: RecipeNames = "default",
    folds: Folds = 5,
    set: Settings = None,
    seed: Seed = 0,
    val: Val = 0.15,
    show_leak: ShowLeak = False,
    copies: Copies = "all",
    from_scratch: FromScratch = False,
    size: Size = None,
    draws: common.Draws = 1000,
    layout: common.Layout = "auto",
    columns: common.Columns = None,
    class_map: common.ClassMap = None,
    on_problem: common.OnProblem = "error",
    resize_masks: common.ResizeMasks = False,
) -> None:
    """Train and measure recipes on the same folds, which no patient and no copy of a scan crosses.

    A benchmark that was stopped resumes when the command is repeated with the same folder.

    Examples:
        bcdseg benchmark Dataset_BUSI_with_GT --recipes default,resnet50-3class --folds 5 --set epochs=30
    """
    from bcdseg.comparison.benchmark import benchmark
    from bcdseg.errors import OptionError
    from bcdseg.training.config import split_settings

    options = split_settings(set or [])
    if "seed" in options:
        raise OptionError("--set seed=...: the seed of everything is --seed.")
    result = benchmark(
        DataOptions(layout, columns, class_map, on_problem, resize_masks).open(data),
        [name.strip() for name in recipes.split(",") if name.strip()],
        folds=folds,
        out=out,
        seed=seed,
        val=val,
        show_leak=show_leak,
        copies=copies,
        from_scratch=from_scratch,
        size=size,
        draws=draws,
        **options,
    )
    print_benchmark(result, make_console())


def print_benchmark(result: Benchmark, console: Console) -> None:
    """Print figures and costs as tables, and differences as sentences."""
    from rich.markdown import Markdown

    console.print(Markdown(printable(result.table())))
    console.print(f"Written: {result.folder / 'benchmark.md'}, .csv and .json", markup=False, soft_wrap=True)


def recipes_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A recipe, to list all that it sets.")] = None,
) -> None:
    """List the named ways to train, and where they come from.

    Examples:
        bcdseg recipes
        bcdseg recipes vgg16-binary
        bcdseg train DATA --recipe vgg16-binary
    """
    from bcdseg.training.recipes import recipe, recipes

    console = make_console(width=None if sys.stdout.isatty() else 140, highlight=False)
    if name is None:
        _print_table(recipes(), console)
    else:
        _print_one(recipe(name), console)


def _print_table(recipes: tuple[Recipe, ...], console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("recipe", "task", "encoder", "weights", "size", "epochs", "from where", box=None, pad_edge=False)
    for one in recipes:
        origin = one.source if not one.name.endswith("+mask") else f"{one.name.removesuffix('+mask')}, and masks"
        network, weights = one.network, one.network.get("weights") or "from scratch"
        table.add_row(one.name, _task(one), network["encoder"], weights, _size(network), str(one.config().epochs), escape(origin))
    console.print(table)
    console.print("\nAll that one sets: bcdseg recipes NAME. Use it: bcdseg train DATA --recipe NAME")


def _print_one(recipe: Recipe, console: Console) -> None:
    console.print(f"{recipe.name}: {_task(recipe)}", markup=False)
    origin = "\n".join([recipe.source, *recipe.links])
    facts = {"what it is": recipe.summary, "from where": origin, "chosen here, not stated there": recipe.chosen}
    for title, text in facts.items():
        if text:
            console.print(f"\n{title}:\n{text}", markup=False, soft_wrap=True)
    for title, options in (("network", recipe.network), ("training", recipe.config().changed())):
        console.print(f"\n{title}:", markup=False)
        for option, value in options.items():
            console.print(f"  {option} = {'none' if value is None else value}", markup=False)


def _task(recipe: Recipe) -> str:
    classes = " / ".join(recipe.classes) if recipe.classes else "the data's classes"
    return classes + (" + mask" if recipe.has_masks else "")


def _size(network: Any) -> str:
    return f"{network['size']} x {network['size']}"
