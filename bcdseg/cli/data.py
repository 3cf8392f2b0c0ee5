"""Commands ``bcdseg audit``, ``bcdseg split`` and ``bcdseg data fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.cli.data_options import LAYOUT, ClassMap, Columns, open_data
from bcdseg.messages import list_some
from bcdseg.terminal import echo, make_console

if TYPE_CHECKING:
    from rich.console import Console

    from bcdseg.data_audit.audit import Audit


def audit_command(
    path: Annotated[Path, typer.Argument(help="A data set: a folder or a table.")],
    out: Annotated[Path | None, typer.Option(help="Folder for audit.json, audit.csv and index.html.")] = None,
    layout: Annotated[str, typer.Option(help=LAYOUT)] = "auto",
    columns: Columns = None,
    class_map: ClassMap = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an audit that is in the folder already.")] = False,
) -> None:
    """Find near-duplicates, conflicting labels and masks, burned-in annotations and class shortcuts."""
    from rich.progress import Progress

    from bcdseg.data_audit.audit import audit
    from bcdseg.data_audit.page import places
    from bcdseg.files import check_free

    if out is not None:
        check_free(places(out), overwrite=overwrite)
    dataset = open_data(path, layout, columns, class_map)
    with Progress(console=make_console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)  # type: ignore[arg-type]

        result = audit(dataset, progress=show)
    console = make_console()
    print_audit(result, console)
    if out is not None:
        console.print(f"Written: {result.save(out, overwrite=overwrite)}", markup=False, soft_wrap=True)


def print_audit(audit: Audit, console: Console) -> None:
    """Print an audit as tables."""
    from rich.markup import escape
    from rich.table import Table

    twins = sum(len(group) for group in audit.duplicate_groups)
    table = Table(title=escape(f"Audit of {audit.name}: {len(audit.samples)} scans"), title_justify="left")
    table.add_column("found")
    table.add_column("how often", justify="right")
    table.add_row("groups of near-duplicates", str(len(audit.duplicate_groups)))
    table.add_row("scans in such groups", str(twins))
    for kind, count in audit.counts().items():
        table.add_row(escape(kind), str(count))
    console.print(table)
    for finding in audit.findings:
        if finding.kind == "shortcut":
            console.print(finding.message, markup=False)
    if audit.conflicts:
        console.print(f"The same scan under two labels ({len(audit.conflicts)} groups):")
        console.print(list_some([", ".join(group) for group in audit.conflicts]), markup=False, soft_wrap=True)


def split_command(
    path: Annotated[Path, typer.Argument(help="The data set: a folder or a table.")],
    out: Annotated[Path, typer.Option(help="Where to write the split (JSON).")],
    fractions: Annotated[tuple[float, float, float], typer.Option(help="Fractions of train, val and test.")] = (0.7, 0.1, 0.2),
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    layout: Annotated[str, typer.Option(help=LAYOUT)] = "auto",
    columns: Columns = None,
    class_map: ClassMap = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing split.")] = False,
) -> None:
    """Split a data set into train, val and test parts that share no patient and no copy of a scan."""
    from bcdseg.data.splits import split

    parts = split(open_data(path, layout, columns, class_map), fractions, seed=seed)
    parts.save(out, overwrite=overwrite)
    echo(repr(parts))
    echo(f"Written to {out}")


def fetch_command(
    name: Annotated[str, typer.Argument(help="The data set: busi.")],
    source: Annotated[str, typer.Option(help="Where to download it from: kaggle or cairo.")] = "kaggle",
    cache: Annotated[Path | None, typer.Option(help="Where to keep it; by default the user's cache folder.")] = None,
) -> None:
    """Download a public data set once, and print its folder."""
    from bcdseg.data.dataset import check_choice
    from bcdseg.data.fetch import fetch_busi

    check_choice("name", name, ("busi",))
    folder = fetch_busi(source, cache=cache, say=lambda line: echo(line, err=True))
    echo(str(folder))
