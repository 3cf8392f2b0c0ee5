"""``bcdseg predict`` in this process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bcdseg.cli.predict_options import Format
from bcdseg.cli.predict_run import Run, interrupted
from bcdseg.cli.predict_table import print_table
from bcdseg.cli.progress import window_progress, with_progress
from bcdseg.terminal import echo, printable_name, write_data

if TYPE_CHECKING:
    from bcdseg.infer.journal import Record
    from bcdseg.model.model import Model


def predict_here(model: Model, run: Run) -> None:
    """Predict scan after scan, and print the table."""
    from bcdseg.infer.clip_folder import ClipFolder
    from bcdseg.infer.gathering import by_file, gather, paths_of
    from bcdseg.infer.journal import Journal
    from bcdseg.infer.output import OutputFolder, common_folder

    files = by_file(_sources(run.paths, run.frames))
    names = paths_of(files)
    settings = {**run.settings, "folder of the scans": str(common_folder(names))}
    journal = Journal(run.out, settings, resume=run.resume, overwrite=run.overwrite)
    overwrite = run.overwrite or journal.goes_on
    folder = OutputFolder(run.out, names, masks=run.masks, overlay=run.overlay, overwrite=overwrite) if run.out else None
    keeps = bool(run.asked["keep_identifiers"])
    clips = ClipFolder(run.out, names, kinds=run.kinds, overwrite=overwrite, keep_identifiers=keeps)
    left = {file: files[file] for file in journal.left(files)}
    sources = [scan for scans in left.values() for scan in scans]
    with window_progress(0 if run.asked["mode"] == "whole" else len(sources)) as progress:
        asked = {**run.asked, "tiles": replace(run.asked["tiles"], progress=progress)}
        stream = model.predict(sources, on_error="keep", **asked)
        journal.begin()
        try:
            gather(with_progress(stream, len(sources)), left, journal, folder=folder, clips=clips, classes=model.classes)
        except KeyboardInterrupt:
            raise interrupted(sum(1 for _ in journal.records(files)), len(files), run.out) from None
        finally:  # whatever stopped it: tables of what is done
            records = list(journal.records(files))
            if folder is not None:
                folder.write_tables(records, model.classes)
    _show(records, model.classes, run.format, run.out)
    failed = [*(row["error"] for record in records for row in record.rows if row.get("error")), *clips.problems]
    for error in failed:
        echo(f"bcdseg: {printable_name(error)}", err=True)
    if failed:
        raise typer.Exit(1)


def _show(records: list[Record], classes: tuple[str, ...], format: Format, out: Path | None) -> None:
    from bcdseg.infer.clip import ClipSummary
    from bcdseg.infer.output import csv_bytes, json_bytes

    rows = [row for record in records for row in record.rows]
    if format is Format.json:
        write_data(json_bytes([result for record in records for result in record.results]).decode())
    elif format is Format.csv:
        write_data(csv_bytes(rows, classes).decode())
    else:
        print_table(rows, out)
        for clip in (ClipSummary(**record.clip) for record in records if record.clip):
            echo(f"{printable_name(Path(clip.source).name)}: {clip}")


def _sources(paths: Iterable[str], frames: int) -> list[Any]:
    """Every image and every frame once, in the order given: paths, and frames of DICOM clips."""
    from bcdseg.data.images import source_name
    from bcdseg.data.sources import expand

    found = [Path(source) if isinstance(source, str) else source for path in paths for source in expand(path, frames)]
    return list({source_name(source): source for source in found}.values())
