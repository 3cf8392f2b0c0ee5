"""``bcdseg predict``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bcdseg.cli import predict_options as option
from bcdseg.cli.predict_table import print_table

if TYPE_CHECKING:
    from bcdseg.infer.journal import Record
    from bcdseg.infer.predictor import Result

FEW = 5


def predict_command(
    paths: option.Paths,
    out: option.Out = None,
    format: option.Printed = option.Format.table,
    overlay: option.Overlay = True,
    model: option.ModelName = "busi-lite",
    device: option.Device = "auto",
    runtime: option.RuntimeName = "auto",
    precision: option.Precision = "fp32",
    batch_size: option.BatchSize = None,
    threshold: option.Threshold = None,
    spacing: option.Spacing = None,
    explain: option.Explain = False,
    operating_point: option.OperatingPoint = None,
    mode: option.Mode = option.ModeName.whole,
    tile_scale: option.TileScale = 1.0,
    tile_overlap: option.TileOverlap = 0.25,
    tta: option.Tta = option.Augmentation.none,
    overwrite: option.Overwrite = False,
    resume: option.Resume = False,
    frames: option.Frames = 1,
    dicom_seg: option.DicomSeg = False,
    dicom_sr: option.DicomSr = False,
    keep_identifiers: option.KeepIdentifiers = False,
) -> None:
    """Outline and classify scans.

    Exit status: 0 all good, 1 some scans could not be read, 2 wrong usage, 130 interrupted.

    Examples:  bcdseg predict scan.png  |  bcdseg predict scans/ --out results --spacing 0.1  |
    bcdseg predict 'scans/*.png' --format csv > table.csv  |  bcdseg predict mammogram.dcm --mode tiles
    """
    from bcdseg.infer.clip_folder import ClipFolder
    from bcdseg.infer.gathering import by_file, gather, paths_of
    from bcdseg.infer.journal import Journal, fingerprint, settings_of
    from bcdseg.infer.output import OutputFolder, common_folder
    from bcdseg.infer.tiles import Tiles
    from bcdseg.model.registry import load

    files = by_file(_sources(paths, frames))
    names = paths_of(files)
    loaded = load(model, device=device, runtime=runtime, precision=precision)
    asked: dict[str, Any] = {
        "spacing": spacing,
        "threshold": threshold,
        "explain": explain,
        "operating_point": operating_point,
        "keep_identifiers": keep_identifiers,
        "mode": mode.value,
        "tta": tta.value,
    }
    settings = asked | {
        "device": loaded.device,
        "runtime": loaded.runtime,
        "precision": precision,
        "overlay": overlay,
        "tile_scale": tile_scale,
        "tile_overlap": tile_overlap,
        "frames": frames,
        "dicom_seg": dicom_seg,
        "dicom_sr": dicom_sr,
        "folder of the scans": str(common_folder(names)),
    }
    weights = fingerprint(loaded.network, loaded.preprocessing, loaded.rules)
    journal = Journal(out, settings_of(loaded.name, weights, settings), resume=resume, overwrite=overwrite)
    overwrite = overwrite or journal.goes_on
    folder = OutputFolder(out, names, overlay=overlay, overwrite=overwrite) if out else None
    kinds = [kind for kind, given in (("seg", dicom_seg), ("sr", dicom_sr)) if given]
    clips = ClipFolder(out, names, kinds=kinds, overwrite=overwrite, keep_identifiers=keep_identifiers)
    left = {file: files[file] for file in journal.left(files)}
    sources = [scan for scans in left.values() for scan in scans]
    with _window_progress(0 if mode is option.ModeName.whole else len(sources)) as progress:
        tiles = Tiles(scale=tile_scale, overlap=tile_overlap, progress=progress)
        stream = loaded.predict(sources, batch_size=batch_size, on_error="keep", tiles=tiles, **asked)
        journal.begin()
        try:
            gather(_with_progress(stream, len(sources)), left, journal, folder=folder, clips=clips, classes=loaded.classes)
        except KeyboardInterrupt:
            raise _interrupted(sum(1 for _ in journal.records(files)), len(files), out) from None
        finally:  # whatever stopped it: tables of what is done
            records = list(journal.records(files))
            if folder is not None:
                folder.write_tables(records, loaded.classes)
    _show(records, loaded.classes, format, out)
    failed = [*(row["error"] for record in records for row in record.rows if row.get("error")), *clips.problems]
    for error in failed:
        typer.echo(f"bcdseg: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _interrupted(done: int, total: int, out: Path | None) -> typer.Exit:
    go_on = f" Their answers are in {out}/; the same command with --resume goes on." if out else ""
    typer.echo(f"bcdseg: interrupted: {done} of {total} files are done.{go_on}", err=True)
    return typer.Exit(130)


def _show(records: list[Record], classes: tuple[str, ...], format: option.Format, out: Path | None) -> None:
    from bcdseg.infer.clip import ClipSummary
    from bcdseg.infer.output import csv_bytes, json_bytes

    rows = [row for record in records for row in record.rows]
    if format is option.Format.json:
        sys.stdout.write(json_bytes([result for record in records for result in record.results]).decode())
    elif format is option.Format.csv:
        sys.stdout.write(csv_bytes(rows, classes).decode())
    else:
        print_table(rows, out)
        for clip in (ClipSummary(**record.clip) for record in records if record.clip):
            typer.echo(f"{Path(clip.source).name}: {clip}")


def _sources(paths: Iterable[str], frames: int) -> list[Any]:
    """Every image and every frame once, in the order given: paths, and frames of DICOM clips."""
    from bcdseg.data.images import source_name
    from bcdseg.data.sources import expand

    found = [Path(source) if isinstance(source, str) else source for path in paths for source in expand(path, frames)]
    return list({source_name(source): source for source in found}.values())


def _with_progress(stream: Iterator[Result], total: int) -> Iterator[Result]:
    """A bar over the scans, where there are more than a few."""
    if total <= FEW or not sys.stderr.isatty():
        yield from stream
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(stream, description="Predicting", total=total, console=Console(stderr=True))


@contextmanager
def _window_progress(scans: int) -> Iterator[Callable[[int, int], object] | None]:
    """A bar over the windows of one scan after the other, where there are a few scans only."""
    if not 0 < scans <= FEW or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Windows", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)
