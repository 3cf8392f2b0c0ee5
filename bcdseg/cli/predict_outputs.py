"""Output of ``bcdseg predict``, in this process or by Ray workers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from bcdseg.messages import percent
from bcdseg.terminal import echo, make_console, printable_name, write_data

if TYPE_CHECKING:
    from bcdseg.batch.run_manifest import Record
    from bcdseg.batch.shards import Shard
    from bcdseg.model.model import Model

FEW = 5  # scans with a progress bar over their windows
SHOWN = 20  # most errors that are printed; all are in the table
Item = TypeVar("Item")


class Format(str, Enum):
    """Format of the printed table."""

    table = "table"
    json = "json"
    csv = "csv"


@dataclass(frozen=True)
class Outputs:
    """Files and table that a command writes.

    Attributes:
        annotations: Format of annotations, or None.
        kinds: Kinds of DICOM output.
        root: Whether to write a DICOM report per study that lists its results.
    """

    out: Path | None
    format: Format
    masks: bool
    overlay: bool
    annotations: str | None
    kinds: list[str]
    root: bool
    overwrite: bool
    resume: bool


@dataclass(frozen=True, kw_only=True)
class PredictRun:
    """Options of one command.

    Attributes:
        predict_options: Options of ``Model.predict``.
        settings: Settings that must be equal for a run to resume.
        shard: Part of the files to predict; None for all.
    """

    paths: list[str]
    frames: int
    predict_options: dict[str, Any]
    settings: dict[str, Any]
    outputs: Outputs
    shard: Shard | None = None


def interrupted(done: int, total: int, out: Path | None) -> typer.Exit:
    """Report an interruption by Ctrl-C, and return the exit with its status."""
    hint = f" Their predictions are in {out}/; the same command with --resume continues." if out else ""
    echo(f"bcdseg: interrupted: {done} of {total} files are done.{hint}", err=True)
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
    spread = f" ± {percent(row['spread'])}" if "spread" in row else ""
    return f"{percent(row['probability_' + row['label']])}{spread}"


def _size(row: dict[str, Any]) -> str:
    unit = "mm" if "long_axis_mm" in row else "px"
    if f"long_axis_{unit}" not in row:
        return ""
    digits = 1 if unit == "mm" else 0
    return f"{row[f'long_axis_{unit}']:.{digits}f} x {row[f'short_axis_{unit}']:.{digits}f} {unit}"


def predict_here(model: Model, run: PredictRun) -> None:
    """Predict the scans in this process, and print the table."""
    from bcdseg.batch.run_manifest import Journal
    from bcdseg.batch.runner import ClipFolder, OutputFolder, StudyRoots, by_file, gather, paths_of
    from bcdseg.batch.storage import folder_of

    outputs = run.outputs
    found = by_file(_sources(run.paths, run.frames))
    base = folder_of(run.paths, found)
    files = _in_shard(found, run.shard)
    names = paths_of(files)
    settings = {**run.settings, "folder of the scans": str(base)}
    journal = Journal(outputs.out, settings, resume=outputs.resume, overwrite=outputs.overwrite)
    wanted: dict[str, Any] = {"masks": outputs.masks, "overlay": outputs.overlay, "annotations": outputs.annotations}
    folder = OutputFolder(outputs.out, names, journal, base=base, **wanted) if outputs.out else None
    clips = ClipFolder(journal, names, base=base, kinds=outputs.kinds)
    identity = run.predict_options["identity"]
    roots = StudyRoots(outputs.out, journal, identity=identity) if outputs.root and outputs.out else None
    left = {file: files[file] for file in journal.left(files)}
    sources = [scan for scans in left.values() for scan in scans]
    with window_progress(0 if run.predict_options["mode"] == "whole" else len(sources)) as progress:
        tiles = run.predict_options["tiles"]
        options = {**run.predict_options, "tiles": tiles and replace(tiles, progress=progress)}
        stream = model.predict(sources, on_error="keep", **options)
        journal.write_header(files)
        try:
            gather(with_progress(stream, len(sources)), left, journal, folder=folder, clips=clips, classes=model.classes)
        except KeyboardInterrupt:
            raise interrupted(sum(1 for _ in journal.records(files)), len(files), outputs.out) from None
        finally:  # also when it is stopped, the tables contain what is done
            records = list(journal.records(files))
            if folder is not None:
                folder.write_tables(records, model.classes)
    if roots is not None:
        roots.write(clips.written(record.file for record in records if record.whole), model=model.name)
    _show(records, model.classes, outputs.format, outputs.out)
    problems = [*clips.problems, *(roots.problems if roots else ())]
    failed = [*(row["error"] for record in records for row in record.rows if row.get("error")), *problems]
    for error in failed:
        echo(f"bcdseg: {printable_name(error)}", err=True)
    if failed:
        raise typer.Exit(1)


def _in_shard(files: dict[str, Item], shard: Shard | None) -> dict[str, Item]:
    """Return the files of a shard. Without any, there is nothing to do: report it and exit."""
    if shard is None:
        return files
    kept = {file: value for file, value in files.items() if file in shard}
    if not kept:
        echo(f"bcdseg: none of the {len(files)} files is in the shard {shard}: nothing to do.", err=True)
        raise typer.Exit(0)
    return kept


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


def predict_archive(model: Model, run: PredictRun, *, address: str | None, workers: int | None) -> None:
    """Predict an archive into the output folder, and print a summary."""
    from bcdseg.batch.archive import TABLE, Archive, Workers
    from bcdseg.batch.run_manifest import Journal
    from bcdseg.batch.storage import folder_of, list_files
    from bcdseg.batch.worker import WorkerOptions

    outputs = run.outputs
    assert outputs.out is not None
    listed = list_files(run.paths)
    base = folder_of(run.paths, listed)
    found = _in_shard(listed, run.shard)
    files, named = list(found), frozenset(file for file, alone in found.items() if alone)
    settings = {**run.settings, "folder of the scans": str(base)}
    journal = Journal(outputs.out, settings, resume=outputs.resume, overwrite=outputs.overwrite)
    archive = Archive(outputs.out, files, journal, base=base)
    options = WorkerOptions(
        predict_options=run.predict_options, frames=run.frames, masks=outputs.masks, overlay=outputs.overlay, named=named
    )
    try:
        archive.fill(model, options, Workers(address=address, count=workers), with_progress)
    except KeyboardInterrupt:
        raise interrupted(sum(1 for _ in journal.records(files)), len(files), outputs.out) from None
    errors = [row["error"] for record in journal.records(files) for row in record.rows if row.get("error")]
    for error in errors[:SHOWN]:
        echo(f"bcdseg: {printable_name(error)}", err=True)
    more = f" ({len(errors) - SHOWN} more in the table)" if len(errors) > SHOWN else ""
    echo(f"{len(files)} files, {len(errors)} scans not read{more}. The table is {outputs.out / TABLE}")
    if errors:
        raise typer.Exit(1)


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
