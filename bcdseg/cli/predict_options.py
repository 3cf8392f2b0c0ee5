"""Options of ``bcdseg predict``, with their help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bcdseg.cli.options import DATA, HARDWARE, MODEL, OUTPUT

INFERENCE, DICOM, ARCHIVE = "Inference", "DICOM", "Archives"


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
        metavar="PATH",
        help="Images, DICOM clips, folders or patterns; with --engine ray also addresses such as s3://bucket/folder. "
        "Masks and overlays (*_mask.png, *_overlay.png) are left out.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Folder of masks, overlays and the table: CSV and JSON, or Parquet.",
        rich_help_panel=OUTPUT,
    ),
]
Printed = Annotated[Format, typer.Option(help="Format of the printed table.", rich_help_panel=OUTPUT)]
Masks = Annotated[
    bool, typer.Option("--masks/--no-masks", help="Whether to write the outlined areas as images.", rich_help_panel=OUTPUT)
]
Overlay = Annotated[
    bool, typer.Option("--overlay/--no-overlay", help="Whether to write images with the outlines drawn.", rich_help_panel=OUTPUT)
]
Annotations = Annotated[
    AnnotationFormat | None,
    typer.Option("--annotations", help="Also write outlines as polygons, for annotation tools.", rich_help_panel=OUTPUT),
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the stopped run in the folder.", rich_help_panel=OUTPUT)]
RuntimeName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Runtime of the network: auto (the fastest installed), openvino, onnxruntime, torch or compile.",
        rich_help_panel=HARDWARE,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="auto (fp16 on CUDA, else fp32), fp32, fp16, or bf16, which is less exact.", rich_help_panel=HARDWARE
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Scans, or windows of large scans, per forward pass.", rich_help_panel=HARDWARE),
]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="PROBABILITY", help="Mask probability from which a pixel is outlined.", rich_help_panel=MODEL),
]
OperatingPoint = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Decide the class at this stored point, such as 'sensitivity 0.95'.", rich_help_panel=MODEL),
]
Spacing = Annotated[
    float | None,
    typer.Option(
        metavar="MM", help="Millimetres per pixel, in place of DICOM's own; sizes are then in millimetres.", rich_help_panel=DATA
    ),
]
Frames = Annotated[int, typer.Option(min=1, metavar="N", help="Each n-th frame of DICOM clips.", rich_help_panel=DATA)]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Only part I of N parts of the files, such as 2/8: each machine predicts one part into a folder of its own.",
        rich_help_panel=ARCHIVE,
    ),
]
Mode = Annotated[
    ModeName,
    typer.Option(help="Whole scans, tiles at native resolution, or (auto) tiles for large scans.", rich_help_panel=INFERENCE),
]
TileScale = Annotated[
    float,
    typer.Option(metavar="FACTOR", help="Scale of a scan before it is cut into tiles; 1 is native.", rich_help_panel=INFERENCE),
]
TileOverlap = Annotated[
    float, typer.Option(metavar="FRACTION", help="Fraction of a tile's side that the next tile shares.", rich_help_panel=INFERENCE)
]
Tta = Annotated[
    Augmentation,
    typer.Option(
        help="Test-time augmentation: mirrored (flip), also at a smaller scale (full); adds a spread.", rich_help_panel=INFERENCE
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain", help="Also write Grad-CAM maps of the predicted class: a hint, no evidence.", rich_help_panel=INFERENCE
    ),
]
DicomSeg = Annotated[
    bool, typer.Option("--dicom-seg", help="Write outlines of DICOM scans as DICOM-SEG too.", rich_help_panel=DICOM)
]
DicomSr = Annotated[
    bool, typer.Option("--dicom-sr", help="Write measurements of DICOM scans as DICOM reports too.", rich_help_panel=DICOM)
]
IdentityOption = Annotated[
    IdentityName | None,
    typer.Option(
        "--identity",
        show_default="shared",
        help="Use of DICOM output and overlays: pacs keeps patient, study and UIDs, so that a PACS files results with their scans; "
        "shared removes them.",
        rich_help_panel=DICOM,
    ),
]
KeepIdentifiers = Annotated[bool, typer.Option("--keep-identifiers", hidden=True)]
EngineName = Annotated[
    Engine, typer.Option(help="plain: this process; ray: workers on this machine or on a cluster.", rich_help_panel=ARCHIVE)
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Address of a running Ray cluster; by default Ray starts here.", rich_help_panel=ARCHIVE),
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Workers of the engine ray; by default one per core, or per GPU.",
        rich_help_panel=ARCHIVE,
    ),
]
