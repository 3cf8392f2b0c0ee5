"""``bcdseg audit``: look through a data set and say what is odd about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from bcdseg.data.audit import Audit

SHOWN = 10  # rows of conflicts


def audit_command(
    path: Annotated[Path, typer.Argument(help="A data set: a folder or a table.")],
    out: Annotated[Path | None, typer.Option(help="Folder for audit.json, audit.csv and index.html.")] = None,
    layout: Annotated[str, typer.Option(help="How the data set is laid out; by default that is recognised.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an audit that is in the folder already.")] = False,
) -> None:
    """Find near-duplicates, conflicting labels and masks, burned-in marks and class shortcuts."""
    from rich.progress import Progress

    from bcdseg.data.audit import audit
    from bcdseg.data.audit_files import places
    from bcdseg.data.opening import open_dataset
    from bcdseg.files import check_free

    if out is not None:
        check_free(places(out), overwrite=overwrite)
    dataset = open_dataset(path, layout=layout)
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
    """The audit as tables."""
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
        for group in audit.conflicts[:SHOWN]:
            console.print("  " + ", ".join(group), markup=False, soft_wrap=True)
        if len(audit.conflicts) > SHOWN:
            console.print(f"  and {len(audit.conflicts) - SHOWN} more")
