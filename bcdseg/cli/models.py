"""``bcdseg models``."""

from __future__ import annotations

import sys

from bcdseg.terminal import echo, make_console


def models_command() -> None:
    """List the models that come in the package.

    Example:  bcdseg models
    """
    from rich.markup import escape
    from rich.table import Table

    from bcdseg.model.registry import DEFAULT, models

    console = make_console(width=None if sys.stdout.isatty() else 140, highlight=False)
    for one in models():
        table = Table(show_header=False, box=None, pad_edge=False)
        for title, text in (
            ("classes", " / ".join(one.classes)),
            ("encoder", one.encoder),
            ("input", "{} x {}".format(*one.preprocessing.size)),
            ("file", f"{one.file.name}, {one.megabytes:.1f} MB, SHA-256 {one.sha256}"),
            ("licence", one.licence),
            ("cite", one.citation),
        ):
            table.add_row(title, escape(text))
        console.print(f"{one.name}{' (the default)' if one.name == DEFAULT else ''}: {one.summary}", markup=False)
        console.print(table)
    echo("\nThe card of one: bcdseg info NAME. Use it: bcdseg.load(NAME), bcdseg predict --model NAME")
