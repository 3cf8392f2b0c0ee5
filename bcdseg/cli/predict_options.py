"""Options of ``bcdseg predict``, with their help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """Format of the printed table."""

    table = "table"
    json = "json"
    csv = "csv"


class ModeName(str, Enum):
    """Inference mode: whole scans, or tiles."""

    whole = "whole"
    tiles = "tiles"
    auto = "auto"


class Augmentation(str, Enum):
    """Test-time augmentation."""

    none = "none"
    flip = "flip"
    full = "full"


class AnnotationFormat(str, Enum):
    """Format of annotations."""

    coco = "coco"
    labelme = "labelme"
    geojson = "geojson"


class IdentityName(str, Enum):
    """Use of DICOM output."""

    pacs = "pacs"
    shared = "shared"


class Engine(str, Enum):
    """Engine that runs the predictions."""

    plain = "plain"
    ray = "ray"


Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Images, DICOM clips, folders or patterns; with --engine ray also addresses such as s3://bucket/folder. "
        "Masks and overlays (*_mask.png, *_overlay.png) are left out.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for masks, overlays and the table: CSV and JSON, or Parquet.")]
Printed = Annotated[Format, typer.Option(help="How the table is printed.")]
Masks = Annotated[bool, typer.Option("--masks/--no-masks", help="Whether to write the outlined areas as pictures.")]
Overlay = Annotated[bool, typer.Option("--overlay/--no-overlay", help="Whether to write pictures with the outlines drawn.")]
ModelName = Annotated[str, typer.Option(help="A bundled model, a model folder, or hf://owner/name.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
RuntimeName = Annotated[
    str, typer.Option(help="What runs the network: auto (the fastest installed), openvino, onnxruntime, torch or compile.")
]
Precision = Annotated[str, typer.Option(help="auto (fp16 on CUDA, else fp32), fp32, fp16, or bf16: faster, with a little drift.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Scans, or windows of large ones, through the network at once.")]
Threshold = Annotated[float | None, typer.Option(help="Mask probability from which a pixel is outlined.")]
Spacing = Annotated[
    float | None, typer.Option(help="Millimetres per pixel, in place of DICOM's own; sizes then come in millimetres.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Also write heat maps of where each class came from: a hint, no evidence.")
]
OperatingPoint = Annotated[
    str | None, typer.Option(metavar="NAME", help="Call classes at this stored point, such as 'sensitivity 0.95'.")
]
Mode = Annotated[ModeName, typer.Option(help="Scans as a whole, large ones in tiles at native resolution, or as their size asks.")]
TileScale = Annotated[float, typer.Option(help="Scans are resized by this before they are cut into tiles; 1 is native.")]
TileOverlap = Annotated[float, typer.Option(help="Share of a tile's side that the next one shares.")]
Tta = Annotated[
    Augmentation, typer.Option(help="Test-time augmentation: also mirrored (flip), also smaller (full); adds a spread.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are in the folder already.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder, after what is done.")]
Frames = Annotated[int, typer.Option(min=1, help="Of DICOM clips, each n-th frame.")]
Annotations = Annotated[
    AnnotationFormat | None, typer.Option("--annotations", help="Also write outlines as polygons, for annotation tools.")
]
DicomSeg = Annotated[bool, typer.Option("--dicom-seg", help="Write outlines of DICOM scans as DICOM-SEG too.")]
DicomSr = Annotated[bool, typer.Option("--dicom-sr", help="Write measurements of DICOM scans as DICOM reports too.")]
IdentityOption = Annotated[
    IdentityName | None,
    typer.Option(
        "--identity",
        show_default="shared",
        help="Use of DICOM output and overlays: pacs keeps patient, study and UIDs, so that a PACS files results with their scans; "
        "shared removes them.",
    ),
]
KeepIdentifiers = Annotated[bool, typer.Option("--keep-identifiers", hidden=True, help="Deprecated: --identity pacs.")]
EngineName = Annotated[Engine, typer.Option(help="plain: this process; ray: workers on this machine or on a cluster.")]
RayAddress = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of a running Ray cluster; without, Ray starts here.")]
WorkerCount = Annotated[int | None, typer.Option("--workers", min=1, help="Of the engine ray; by default one a core, or a GPU.")]
