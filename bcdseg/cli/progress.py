"""Progress bars on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from bcdseg.terminal import make_console

FEW = 5

Item = TypeVar("Item")


def with_progress(stream: Iterator[Item], total: int) -> Iterator[Item]:
    """Show a progress bar over scans or files, where there are more than a few."""
    if total <= FEW or not sys.stderr.isatty():
        yield from stream
        return
    from rich.progress import track

    yield from track(stream, description="Predicting", total=total, console=make_console(stderr=True))


@contextmanager
def window_progress(scans: int) -> Iterator[Callable[[int, int], object] | None]:
    """Show a progress bar over the windows of each scan, where there are only a few scans."""
    if not 0 < scans <= FEW or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task("Windows", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
