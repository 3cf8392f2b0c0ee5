"""``bcdseg predict --engine ray``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bcdseg.cli.predict_run import Run, interrupted
from bcdseg.cli.progress import with_progress
from bcdseg.terminal import echo, printable_name

if TYPE_CHECKING:
    from bcdseg.model.model import Model

SHOWN = 20  # errors at most; all are in the table


def predict_archive(model: Model, run: Run, *, address: str | None, workers: int | None) -> None:
    """Fill the folder, and say what came of it."""
    from bcdseg.archive.archive import TABLE, Archive, Workers
    from bcdseg.archive.places import as_path, list_files
    from bcdseg.archive.worker import Asked
    from bcdseg.infer.journal import Journal
    from bcdseg.infer.output import common_folder

    assert run.out is not None
    found = list_files(run.paths)
    files, named = list(found), frozenset(file for file, alone in found.items() if alone)
    settings = {**run.settings, "folder of the scans": str(common_folder([as_path(file) for file in files]))}
    journal = Journal(run.out, settings, resume=run.resume, overwrite=run.overwrite)
    archive = Archive(run.out, files, journal, overwrite=run.overwrite)
    asked = Asked(options=run.asked, frames=run.frames, masks=run.masks, overlay=run.overlay, named=named)
    try:
        archive.fill(model, asked, Workers(address=address, count=workers), with_progress)
    except KeyboardInterrupt:
        raise interrupted(sum(1 for _ in journal.records(files)), len(files), run.out) from None
    errors = [row["error"] for record in journal.records(files) for row in record.rows if row.get("error")]
    for error in errors[:SHOWN]:
        echo(f"bcdseg: {printable_name(error)}", err=True)
    more = f" ({len(errors) - SHOWN} more in the table)" if len(errors) > SHOWN else ""
    echo(f"{len(files)} files, {len(errors)} scans not read{more}. The table is {run.out / TABLE}")
    if errors:
        raise typer.Exit(1)
