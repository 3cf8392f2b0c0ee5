"""``bcdseg recipes``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from bcdseg.train.recipes import Recipe


def recipes_command(
    name: Annotated[str | None, typer.Argument(help="One of them, to see all that it sets.")] = None,
) -> None:
    """List the named ways to train, and where they come from.

    Examples:  bcdseg recipes  |  bcdseg recipes vgg16-binary  |  bcdseg train DATA --recipe vgg16-binary
    """
    from bcdseg.train.recipes import recipe, recipes

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
    facts = {"what it is": recipe.summary, "from where": origin, "chosen here, not told there": recipe.chosen}
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
