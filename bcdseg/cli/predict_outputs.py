"""Output of ``bcdseg predict``, in this process or by Ray workers."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bcdseg.cli.predict_options import Format
from bcdseg.cli.progress import window_progress, with_progress
from bcdseg.terminal import echo, make_console, printable_name, write_data

if TYPE_CHECKING:
    from bcdseg.batch.run_manifest import Record
    from bcdseg.model.model import Model


@dataclass(frozen=True, kw_only=True)
class PredictRun:
    """Options of one command.

    Attributes:
        settings: Settings that must be equal for a run to resume.
        asked: Options of ``Model.predict``.
        annotations: Format of annotations, or None.
        kinds: Kinds of DICOM output.
    """

    paths: list[str]
    out: Path | None
    format: Format
    settings: dict[str, Any]
    asked: dict[str, Any]
    frames: int
    masks: bool
    overlay: bool
    annotations: str | None
    kinds: list[str]
    resume: bool
    overwrite: bool


def interrupted(done: int, total: int, out: Path | None) -> typer.Exit:
    """Report an interruption by Ctrl-C, and return the exit with its status."""
    go_on = f" Their predictions are in {out}/; the same command with --resume continues." if out else ""
    echo(f"bcdseg: interrupted: {done} of {total} files are done.{go_on}", err=True)
    return typer.Exit(130)


def print_table(rows: list[dict[str, Any]], out: Path | None) -> None:
    """Print one line per scan, and the location of the files."""
    from rich.markup import escape
    from rich.table import Table

    console = make_console(width=None if sys.stdout.isatty() else 120)
    table = Table("scan", "class", "probability", "lesions", "largest", "flags", box=None, pad_edge=False)
    for row in rows:
        if row.get("error"):
            table.add_row(_name(row), "failed", "", "", "", "")
        else:
            lesions, label = str(row.get("lesions", "")), escape(row["label"])
            table.add_row(_name(row), label, _probability(row), lesions, _size(row), row["flags"])
    console.print(table)
    if out:
        written = f"\nWritten to {out}/; the tables are predictions.csv and predictions.json there"
        console.print(written, highlight=False, markup=False)


def _name(row: dict[str, Any]) -> str:
    from rich.markup import escape

    return escape(printable_name(Path(row["source"]).name))


def _probability(row: dict[str, Any]) -> str:
    if not row["label"]:
        return ""
    spread = f" ± {row['spread']:.0%}" if "spread" in row else ""
    return f"{row['probability_' + row['label']]:.0%}{spread}"


def _size(row: dict[str, Any]) -> str:
    unit = "mm" if "long_axis_mm" in row else "px"
    if f"long_axis_{unit}" not in row:
        return ""
    digits = 1 if unit == "mm" else 0
    return f"{row[f'long_axis_{unit}']:.{digits}f} x {row[f'short_axis_{unit}']:.{digits}f} {unit}"


def predict_here(model: Model, run: PredictRun) -> None:
    """Predict the scans in this process, and print the table."""
    from bcdseg.batch.run_manifest import Journal
    from bcdseg.batch.runner import ClipFolder, OutputFolder, by_file, gather, paths_of
    from bcdseg.inference.writers import common_folder

    files = by_file(_sources(run.paths, run.frames))
    names = paths_of(files)
    settings = {**run.settings, "folder of the scans": str(common_folder(names))}
    journal = Journal(run.out, settings, resume=run.resume, overwrite=run.overwrite)
    overwrite = run.overwrite or journal.goes_on
    wanted: dict[str, Any] = {"masks": run.masks, "overlay": run.overlay, "annotations": run.annotations}
    folder = OutputFolder(run.out, names, **wanted, overwrite=overwrite) if run.out else None
    clips = ClipFolder(run.out, names, kinds=run.kinds, overwrite=overwrite)
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
        finally:  # also when it is stopped, the tables contain what is done
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
    from bcdseg.inference.clips import ClipSummary
    from bcdseg.inference.writers import csv_bytes, json_bytes

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
    """Return each image and each frame once, in the given order: paths, and frames of DICOM clips."""
    from bcdseg.data.readers import expand
    from bcdseg.sources import source_name

    found = [Path(source) if isinstance(source, str) else source for path in paths for source in expand(path, frames)]
    return list({source_name(source): source for source in found}.values())


SHOWN = 20  # most errors that are printed; all are in the table


def predict_archive(model: Model, run: PredictRun, *, address: str | None, workers: int | None) -> None:
    """Predict an archive into the output folder, and print a summary."""
    from bcdseg.batch.archive import TABLE, Archive, Workers
    from bcdseg.batch.run_manifest import Journal
    from bcdseg.batch.storage import as_path, list_files
    from bcdseg.batch.worker import Asked
    from bcdseg.inference.writers import common_folder

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
