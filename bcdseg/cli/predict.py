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
    from bcdseg.infer.clip_folder import ClipFolder
    from bcdseg.infer.output import OutputFolder
    from bcdseg.infer.predictor import Result

FEW = 5

Rows = list[dict[str, Any]]


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
    frames: option.Frames = 1,
    dicom_seg: option.DicomSeg = False,
    dicom_sr: option.DicomSr = False,
    keep_identifiers: option.KeepIdentifiers = False,
) -> None:
    """Outline and classify scans.

    Exit status: 0 all good, 1 some scans could not be read, 2 wrong usage.

    Examples:  bcdseg predict scan.png  |  bcdseg predict scans/ --out results --spacing 0.1  |
    bcdseg predict 'scans/*.png' --format csv > table.csv  |  bcdseg predict mammogram.dcm --mode tiles
    """
    from bcdseg.data.images import source_name
    from bcdseg.infer.clip_folder import ClipFolder
    from bcdseg.infer.output import OutputFolder
    from bcdseg.infer.tiles import Tiles
    from bcdseg.model.registry import load

    sources = _sources(paths, frames)
    names = [Path(source_name(source)) for source in sources]
    loaded = load(model, device=device, runtime=runtime, precision=precision)
    folder = OutputFolder(out, names, overlay=overlay, overwrite=overwrite) if out else None
    kinds = [kind for kind, asked in (("seg", dicom_seg), ("sr", dicom_sr)) if asked]
    clips = ClipFolder(out, names, kinds=kinds, overwrite=overwrite, keep_identifiers=keep_identifiers)
    with _window_progress(0 if mode is option.ModeName.whole else len(sources)) as progress:
        stream = loaded.predict(
            sources,
            spacing=spacing,
            threshold=threshold,
            batch_size=batch_size,
            on_error="keep",
            explain=explain,
            operating_point=operating_point,
            keep_identifiers=keep_identifiers,
            mode=mode.value,
            tiles=Tiles(scale=tile_scale, overlap=tile_overlap, progress=progress),
            tta=tta.value,
        )
        rows, results = _gather(_with_progress(stream, len(sources)), folder, clips, loaded.classes)
    _show(rows, results, loaded.classes, format, out, clips)
    failed = [*(row["error"] for row in rows if row.get("error")), *clips.problems]
    for error in failed:
        typer.echo(f"bcdseg: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _gather(
    stream: Iterator[Result], folder: OutputFolder | None, clips: ClipFolder, classes: tuple[str, ...]
) -> tuple[Rows, Rows]:
    """Write the answers as they come; a row and all details of each."""
    from bcdseg.infer.output import table_rows

    rows: Rows = []
    results: Rows = []
    try:
        for result in stream:
            results.append(result.to_dict())
            rows += table_rows([result], classes)
            if folder:
                folder.add(result)
            clips.add(result)
        clips.finish()
    finally:  # also after Ctrl-C: a table of what is done
        if folder:
            folder.write_tables(rows, results, classes)
    return rows, results


def _show(rows: Rows, results: Rows, classes: tuple[str, ...], format: option.Format, out: Path | None, clips: ClipFolder) -> None:
    from bcdseg.infer.output import csv_bytes, json_bytes

    if format is option.Format.json:
        sys.stdout.write(json_bytes(results).decode())
    elif format is option.Format.csv:
        sys.stdout.write(csv_bytes(rows, classes).decode())
    else:
        print_table(rows, out)
        for clip in clips.summaries:
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
