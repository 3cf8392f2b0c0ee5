"""Commands ``bcdseg audit``, ``bcdseg split`` and ``bcdseg data fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.cli import options as common
from bcdseg.cli.options import DataOptions, in_output, option_group
from bcdseg.messages import counted, list_some
from bcdseg.terminal import echo, make_console

if TYPE_CHECKING:
    from rich.console import Console

    from bcdseg.data_audit.audit import Audit


in_split = option_group("Split")

AuditFolder = Annotated[
    Path | None, in_output("--out", "-o", metavar="FOLDER", help="Folder for audit.json, audit.csv and index.html.")
]
SplitFile = Annotated[Path, in_output("--out", "-o", metavar="FILE", help="File to write the split to (JSON).")]
Fractions = Annotated[tuple[float, float, float], in_split(metavar="TRAIN VAL TEST", help="Fractions of the parts.")]
Seed = Annotated[int, in_split(min=0, metavar="N", help="The same seed gives the same split.")]


def audit_command(
    data: common.DataSet,
    out: AuditFolder = None,
    overwrite: common.Overwrite = False,
    layout: common.Layout = "auto",
    columns: common.Columns = None,
    class_map: common.ClassMap = None,
    on_problem: common.OnProblem = "error",
    resize_masks: common.ResizeMasks = False,
) -> None:
    """Find near-duplicates, conflicting labels and masks, burned-in annotations and class shortcuts.

    Examples:
        bcdseg audit Dataset_BUSI_with_GT
        bcdseg audit scans.csv --columns image=file,label=finding -o audit
    """
    from rich.progress import Progress

    from bcdseg.data_audit.audit import audit
    from bcdseg.data_audit.page import places
    from bcdseg.files import check_free, check_writable

    if out is not None:
        check_free(places(out), overwrite=overwrite)
        check_writable(out)
    dataset = DataOptions(layout, columns, class_map, on_problem, resize_masks).open(data)
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
    table = Table(title=escape(f"Audit of {audit.name}: {counted(len(audit.samples), 'scan')}"), title_justify="left")
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
        console.print(f"The same scan under two labels ({counted(len(audit.conflicts), 'group')}):")
        console.print(list_some([", ".join(group) for group in audit.conflicts]), markup=False, soft_wrap=True)


def split_command(
    data: common.DataSet,
    out: SplitFile,
    overwrite: common.Overwrite = False,
    fractions: Fractions = (0.7, 0.1, 0.2),
    seed: Seed = 0,
    layout: common.Layout = "auto",
    columns: common.Columns = None,
    class_map: common.ClassMap = None,
    on_problem: common.OnProblem = "error",
    resize_masks: common.ResizeMasks = False,
) -> None:
    """Split a data set into train, val and test parts that share no patient and no copy of a scan.

    Examples:
        bcdseg split Dataset_BUSI_with_GT -o split.json
        bcdseg split scans.csv -o split.json --fractions 0.6 0.2 0.2
    """
    from bcdseg.data.splits import split
    from bcdseg.files import check_free, check_writable

    check_free([out], overwrite=overwrite)
    check_writable(out.parent)
    parts = split(DataOptions(layout, columns, class_map, on_problem, resize_masks).open(data), fractions, seed=seed)
    parts.save(out, overwrite=overwrite)
    echo(repr(parts))
    echo(f"Written to {out}")


def fetch_command(
    name: Annotated[str, typer.Argument(help="The data set: busi, bus-bra, breast or bus-uclm.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence that is shown; needed for the first download.")
    ] = False,
    source: Annotated[
        str | None, typer.Option(help="Where to download it from: its publisher, or kaggle (only busi).", show_default="publisher")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Where to keep it; by default the user's cache folder.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the archive, in place of the known one.")] = None,
) -> None:
    """Download a public data set once, and print its folder."""
    from bcdseg.data.public_sets.fetch import fetch_dataset

    folder = fetch_dataset(
        name, accept_licence=accept_licence, source=source, cache=cache, sha256=sha256, log=lambda line: echo(line, err=True)
    )
    echo(str(folder))
