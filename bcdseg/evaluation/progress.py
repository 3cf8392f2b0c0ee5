"""A progress bar where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from bcdseg.terminal import make_console

Item = TypeVar("Item")
FEW = 10  # up to which none is shown


def tracked(items: Iterable[Item], what: str, total: int, show: bool) -> Iterator[Item]:
    """The items, with a bar on the terminal's error stream while they come."""
    if not show or total <= FEW or not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=what, total=total, console=make_console(stderr=True), transient=True)
