"""``bcdseg split`` and ``bcdseg data fetch``: they parse and print, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcdseg.terminal import echo


def split_command(
    path: Annotated[Path, typer.Argument(help="The data set: a folder or a table.")],
    out: Annotated[Path, typer.Option(help="Where to write the split (JSON).")],
    fractions: Annotated[tuple[float, float, float], typer.Option(help="Shares of train, val and test.")] = (0.7, 0.1, 0.2),
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    layout: Annotated[str, typer.Option(help="How the data set lies on disk.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a split that is there.")] = False,
) -> None:
    """Divide a data set into train, val and test that share no patient and no copy of a scan."""
    from bcdseg.data.opening import open_dataset
    from bcdseg.data.splits import split

    parts = split(open_dataset(path, layout), fractions, seed=seed)
    parts.save(out, overwrite=overwrite)
    echo(repr(parts))
    echo(f"Written to {out}")


def fetch_command(
    name: Annotated[str, typer.Argument(help="The data set: busi.")],
    source: Annotated[str, typer.Option(help="Its home: kaggle or cairo.")] = "kaggle",
    cache: Annotated[Path | None, typer.Option(help="Where to keep it; by default the user's cache folder.")] = None,
) -> None:
    """Fetch a public data set from its home, once, and print its folder."""
    from bcdseg.data.dataset import check_choice
    from bcdseg.data.fetch import fetch_busi

    check_choice("name", name, ("busi",))
    folder = fetch_busi(source, cache=cache, say=lambda line: echo(line, err=True))
    echo(str(folder))
