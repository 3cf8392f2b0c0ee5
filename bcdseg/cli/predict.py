"""``bcdseg predict``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bcdseg.infer.predictor import Result

FEW = 5


class Format(str, Enum):
    """How the table is printed."""

    table = "table"
    json = "json"
    csv = "csv"


def predict_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Images, DICOM clips, folders or patterns. Masks and overlays (*_mask.png, *_overlay.png) are left out.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for masks, overlays and the table (CSV and JSON).")] = None,
    format: Annotated[Format, typer.Option(help="How the table is printed.")] = Format.table,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Whether to write pictures with the outlines drawn.")
    ] = True,
    model: Annotated[str, typer.Option(help="A bundled model, a model folder, or hf://owner/name.")] = "busi-lite",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    runtime: Annotated[
        str, typer.Option(help="What runs the network: auto (the fastest), openvino, onnxruntime or torch.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, or bf16: faster, with a little drift.")] = "fp32",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Scans through the network at once.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Mask probability from which a pixel is outlined.")] = None,
    spacing: Annotated[
        float | None, typer.Option(help="Millimetres per pixel, in place of DICOM's own; sizes then come in millimetres.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also write heat maps of where each class came from: a hint, no evidence.")
    ] = False,
    operating_point: Annotated[
        str | None, typer.Option(metavar="NAME", help="Call classes at this stored point, such as 'sensitivity 0.95'.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are in the folder already.")] = False,
    frames: Annotated[int, typer.Option(min=1, help="Of DICOM clips, each n-th frame.")] = 1,
    dicom_seg: Annotated[bool, typer.Option("--dicom-seg", help="Write outlines of DICOM scans as DICOM-SEG too.")] = False,
    dicom_sr: Annotated[bool, typer.Option("--dicom-sr", help="Write measurements of DICOM scans as DICOM reports too.")] = False,
    keep_identifiers: Annotated[
        bool, typer.Option("--keep-identifiers", help="Leave patients' names, numbers and dates in DICOM output and in overlays.")
    ] = False,
) -> None:
    """Outline and classify scans.

    Exit status: 0 all good, 1 some scans could not be read, 2 wrong usage.

    Examples:  bcdseg predict scan.png  |  bcdseg predict scans/ --out results --spacing 0.1  |
    bcdseg predict 'scans/*.png' --format csv > table.csv
    """
    from bcdseg.data.images import source_name
    from bcdseg.infer.clip_folder import ClipFolder
    from bcdseg.infer.output import OutputFolder, csv_bytes, json_bytes, table_rows
    from bcdseg.model.registry import load

    sources = _sources(paths, frames)
    names = [Path(source_name(source)) for source in sources]
    loaded = load(model, device=device, runtime=runtime, precision=precision)
    folder = OutputFolder(out, names, overlay=overlay, overwrite=overwrite) if out else None
    kinds = [kind for kind, asked in (("seg", dicom_seg), ("sr", dicom_sr)) if asked]
    clips = ClipFolder(out, names, kinds=kinds, overwrite=overwrite, keep_identifiers=keep_identifiers)
    stream = loaded.predict(
        sources,
        spacing=spacing,
        threshold=threshold,
        batch_size=batch_size,
        on_error="keep",
        explain=explain,
        operating_point=operating_point,
        keep_identifiers=keep_identifiers,
    )
    results: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    try:
        for result in _with_progress(stream, len(sources)):
            results.append(result.to_dict())
            rows += table_rows([result], loaded.classes)
            if folder:
                folder.add(result)
            clips.add(result)
        clips.finish()
    finally:  # also after Ctrl-C: a table of what is done
        if folder:
            folder.write_tables(rows, results, loaded.classes)
    if format is Format.json:
        sys.stdout.write(json_bytes(results).decode())
    elif format is Format.csv:
        sys.stdout.write(csv_bytes(rows, loaded.classes).decode())
    else:
        _print_table(rows, out)
        for clip in clips.summaries:
            typer.echo(f"{Path(clip.source).name}: {clip}")
    failed = [*(row["error"] for row in rows if row.get("error")), *clips.problems]
    for error in failed:
        typer.echo(f"bcdseg: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _sources(paths: Iterable[str], frames: int) -> list[Any]:
    """Every image and every frame once, in the order given: paths, and frames of DICOM clips."""
    from bcdseg.data.images import source_name
    from bcdseg.data.sources import expand

    found = [Path(source) if isinstance(source, str) else source for path in paths for source in expand(path, frames)]
    return list({source_name(source): source for source in found}.values())


def _with_progress(stream: Iterator[Result], total: int) -> Iterator[Result]:
    if total <= FEW or not sys.stderr.isatty():
        yield from stream
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(stream, description="Predicting", total=total, console=Console(stderr=True))


def _print_table(rows: list[dict[str, Any]], out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("scan", "class", "probability", "lesions", "largest", "flags", box=None, pad_edge=False)
    for row in rows:
        if row.get("error"):
            table.add_row(_name(row), "not read", "", "", "", "")
        else:
            probability = f"{row['probability_' + row['label']]:.0%}" if row["label"] else ""
            table.add_row(_name(row), row["label"], probability, str(row.get("lesions", "")), _size(row), row["flags"])
    console.print(table)
    if out:
        console.print(f"\nMasks, overlays and the tables predictions.csv and predictions.json are in {out}/", highlight=False)


def _name(row: dict[str, Any]) -> str:
    from rich.markup import escape

    return escape(Path(row["source"]).name.encode("utf-8", "backslashreplace").decode())


def _size(row: dict[str, Any]) -> str:
    unit = "mm" if "long_axis_mm" in row else "px"
    if f"long_axis_{unit}" not in row:
        return ""
    digits = 1 if unit == "mm" else 0
    return f"{row[f'long_axis_{unit}']:.{digits}f} x {row[f'short_axis_{unit}']:.{digits}f} {unit}"
