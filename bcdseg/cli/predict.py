"""Command ``bcdseg predict``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli.options import in_data, in_hardware, in_output, option_group
from bcdseg.cli.predict_outputs import Format, Outputs, PredictRun, predict_archive, predict_here
from bcdseg.terminal import echo, printable_name

if TYPE_CHECKING:
    from bcdseg.inference.sliding_window import Tiles

in_inference, in_dicom, in_archive = option_group("Inference"), option_group("DICOM"), option_group("Archives")


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
        "Masks and overlays of scans (*_mask.png, *_overlay.png) are left out.",
    ),
]
Out = Annotated[
    Path | None,
    in_output("--out", "-o", metavar="FOLDER", help="Folder of masks, overlays and the table: CSV and JSON, or Parquet."),
]
Printed = Annotated[Format, in_output(help="Format of the printed table.")]
Masks = Annotated[bool, in_output("--masks/--no-masks", help="Whether to write the outlined areas as images.")]
Overlay = Annotated[bool, in_output("--overlay/--no-overlay", help="Whether to write images with the outlines drawn.")]
Annotations = Annotated[
    AnnotationFormat | None, in_output("--annotations", help="Also write outlines as polygons, for annotation tools.")
]
Overwrite = Annotated[bool, in_output("--overwrite", help="Replace the earlier run in the folder; its files are removed.")]
Resume = Annotated[bool, in_output("--resume", help="Resume the stopped run in the folder.")]
RuntimeName = Annotated[
    str,
    in_hardware(
        metavar="NAME", help="Runtime of the network: auto (the fastest installed), openvino, onnxruntime, torch or compile."
    ),
]
Precision = Annotated[
    str, in_hardware(metavar="NAME", help="auto (fp16 on CUDA, else fp32), fp32, fp16, or bf16, which is less exact.")
]
BatchSize = Annotated[int | None, in_hardware(min=1, metavar="N", help="Scans, or windows of large scans, per forward pass.")]
Spacing = Annotated[
    float | None, in_data(metavar="MM", help="Millimetres per pixel, in place of DICOM's own; sizes are then in millimetres.")
]
ShardName = Annotated[
    str | None,
    in_archive(
        metavar="I/N",
        help="Only part I of N parts of the files, such as 2/8: each machine predicts one part, with its own --out.",
    ),
]
Mode = Annotated[ModeName, in_inference(help="Whole scans, tiles at native resolution, or (auto) tiles for large scans.")]
TileScale = Annotated[
    float | None,
    in_inference(metavar="FACTOR", show_default="1.0", help="Scale of a scan before it is cut into tiles; 1 is native."),
]
TileOverlap = Annotated[
    float | None,
    in_inference(metavar="FRACTION", show_default="0.25", help="Fraction of a tile's side that the next tile shares."),
]
Tta = Annotated[
    Augmentation, in_inference(help="Test-time augmentation: mirrored (flip), also at a smaller scale (full); adds a spread.")
]
Explain = Annotated[bool, in_inference("--explain", help="Also write Grad-CAM maps of the predicted class: a hint, no evidence.")]
DicomSeg = Annotated[bool, in_dicom("--dicom-seg", help="Write outlines of DICOM scans as DICOM-SEG too.")]
DicomSr = Annotated[bool, in_dicom("--dicom-sr", help="Write measurements of DICOM scans as DICOM reports too.")]
DicomRoot = Annotated[bool, in_dicom("--dicom-root", help="Write a DICOM report per study that lists its DICOM results too.")]
IdentityOption = Annotated[
    IdentityName | None,
    in_dicom(
        "--identity",
        show_default="shared",
        help="Use of DICOM output and overlays: pacs keeps patient, study and UIDs, so that a PACS files results with their scans; "
        "shared removes them.",
    ),
]
KeepIdentifiers = Annotated[bool, typer.Option("--keep-identifiers", hidden=True)]
EngineName = Annotated[Engine, in_archive(help="plain: this process; ray: workers on this machine or on a cluster.")]
RayAddress = Annotated[
    str | None, in_archive(metavar="ADDRESS", help="Address of a running Ray cluster; by default Ray starts here.")
]
WorkerCount = Annotated[
    int | None, in_archive("--workers", min=1, metavar="N", help="Workers of the engine ray; by default one per core, or per GPU.")
]


def predict_command(
    paths: Paths,
    out: Out = None,
    format: Printed = Format.table,
    masks: Masks = True,
    overlay: Overlay = True,
    annotations: Annotations = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    model: common.ModelName = DEFAULT_MODEL,
    threshold: common.Threshold = None,
    operating_point: common.OperatingPoint = None,
    spacing: Spacing = None,
    frames: common.Frames = 1,
    mode: Mode = ModeName.whole,
    tile_scale: TileScale = None,
    tile_overlap: TileOverlap = None,
    tta: Tta = Augmentation.none,
    explain: Explain = False,
    dicom_seg: DicomSeg = False,
    dicom_sr: DicomSr = False,
    dicom_root: DicomRoot = False,
    identity: IdentityOption = None,
    keep_identifiers: KeepIdentifiers = False,
    device: common.Device = "auto",
    runtime: RuntimeName = "auto",
    precision: Precision = "auto",
    batch_size: BatchSize = None,
    engine: EngineName = Engine.plain,
    ray_address: RayAddress = None,
    workers: WorkerCount = None,
    shard: ShardName = None,
) -> None:
    """Outline and classify scans.

    Exit status: 0 all good, 1 some scans could not be read, 2 wrong usage, 130 interrupted.

    Examples:
        bcdseg predict scan.png
        bcdseg predict scans/ -o results --spacing 0.1
        bcdseg predict 'scans/*.png' --format csv > table.csv
        bcdseg predict mammogram.dcm --mode tiles
        bcdseg predict archive/ --shard 2/8 -o results/2
        bcdseg predict s3://bucket/archive --engine ray -o results --no-overlay
    """
    from bcdseg.batch.run_manifest import fingerprint, settings_of
    from bcdseg.batch.shards import Shard
    from bcdseg.errors import OptionError
    from bcdseg.model.registry import load

    kinds = [kind for kind, wanted in (("seg", dicom_seg), ("sr", dicom_sr)) if wanted]
    named = annotations.value if annotations else None
    outputs = Outputs(out, format, masks, overlay, named, kinds, dicom_root, overwrite=overwrite, resume=resume)
    _check_root(outputs, shard)
    _check_engine(engine, outputs, paths, ray_only=(ray_address, workers))
    if explain and (out is None or not overlay):
        raise OptionError("--explain writes maps next to the overlays: name their folder with --out FOLDER, without --no-overlay.")
    tiles = _tiles(mode, tile_scale, tile_overlap)
    paths = _without_results(paths)
    loaded = load(model, device=device, runtime=runtime, precision=precision)
    if named is not None and loaded.config.decoder is None:
        raise OptionError(f"--annotations: {loaded.name} only classifies, so that there are no outlines to write.")
    predict_options: dict[str, Any] = {
        "spacing": spacing,
        "threshold": threshold,
        "explain": explain,
        "operating_point": operating_point,
        "identity": _identity(identity, keep_identifiers),
        "mode": mode.value,
        "tta": tta.value,
    }
    run_on = {"device": loaded.device, "runtime": loaded.runtime, "precision": loaded.precision, "engine": engine.value}
    written = {"annotations": named, "masks": masks, "overlay": overlay, "dicom": [*kinds, *["root"] * dicom_root]}
    part = Shard.parse(shard) if shard is not None else None
    window = {"tile_scale": tiles and tiles.scale, "tile_overlap": tiles and tiles.overlap}
    read = {"frames": frames, **window, "shard": shard}
    weights = fingerprint(loaded)
    run = PredictRun(
        paths=paths,
        frames=frames,
        predict_options={**predict_options, "batch_size": batch_size, "tiles": tiles},
        settings=settings_of(loaded.name, weights, {**predict_options, **run_on, **written, **read}),
        outputs=outputs,
        shard=part,
    )
    if engine is Engine.ray:
        predict_archive(loaded, run, address=ray_address, workers=workers)
    else:
        predict_here(loaded, run)


def join_command(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Results of each shard.", show_default=False)],
    out: Annotated[Path, in_output("--out", "-o", metavar="FILE.csv", help="Joined table.")],
    overwrite: common.Overwrite = False,
    allow_missing: Annotated[bool, in_data(help="Shards may be missing, such as one that no file belongs to.")] = False,
) -> None:
    """Join the tables of all shards of an archive to one.

    The runs must be finished, of all shards, and of one model with the same options; otherwise nothing is written.

    Examples:
        bcdseg join results/* -o predictions.csv
    """
    from bcdseg.batch.joined_table import join_tables
    from bcdseg.messages import name_some

    if missing := join_tables(folders, out, allow_missing=allow_missing, overwrite=overwrite):
        echo(f"bcdseg: missing: {name_some(missing)}", err=True)
    echo(f"Written to {out}")


def _tiles(mode: ModeName, scale: float | None, overlap: float | None) -> Tiles | None:
    from bcdseg.errors import OptionError
    from bcdseg.inference.sliding_window import Tiles

    if mode is ModeName.whole:
        if scale is not None or overlap is not None:
            raise OptionError("--tile-scale and --tile-overlap are options of tiles: give --mode tiles or --mode auto too.")
        return None
    default = Tiles()
    return Tiles(scale=default.scale if scale is None else scale, overlap=default.overlap if overlap is None else overlap)


def _without_results(paths: list[str]) -> list[str]:
    """Leave out masks and overlays of scans that are given too, as a shell does for ``scans/*.png``, and report it."""
    from bcdseg.data.readers import without_results
    from bcdseg.messages import name_some

    scans, results = without_results(paths)
    if results:
        echo(f"bcdseg: masks and overlays of these scans are left out: {printable_name(name_some(results, 1))}", err=True)
    return scans


def _identity(identity: IdentityName | None, keep_identifiers: bool) -> str:
    from bcdseg.errors import OptionError

    if keep_identifiers and identity is not None:
        raise OptionError("--keep-identifiers is deprecated and means --identity pacs: give --identity alone.")
    if keep_identifiers:
        echo("bcdseg: --keep-identifiers is deprecated: write --identity pacs.", err=True)
    return "pacs" if keep_identifiers else identity.value if identity else "shared"


def _check_root(outputs: Outputs, shard: str | None) -> None:
    from bcdseg.errors import OptionError

    if outputs.root and not outputs.kinds:
        raise OptionError("--dicom-root lists the results of --dicom-seg and --dicom-sr: give one of them too.")
    if outputs.root and shard is not None:
        raise OptionError("--dicom-root lists all results of a study, and --shard divides studies: leave out one of them.")


def _check_engine(engine: Engine, outputs: Outputs, paths: list[str], *, ray_only: tuple[str | None, int | None]) -> None:
    from bcdseg.errors import OptionError

    if outputs.annotations is not None and outputs.out is None:
        raise OptionError("--annotations writes files: name their folder with --out FOLDER.")
    if engine is Engine.plain:
        if ray_only != (None, None):
            raise OptionError("--ray-address and --workers are options of the engine ray: give --engine ray too.")
        if addresses := [path for path in paths if "://" in path and not Path(path).exists()]:
            raise OptionError(f"{addresses[0]}: is an address, which only --engine ray reads: give it too, or download the files.")
        return
    if outputs.out is None:
        raise OptionError("--engine ray writes its predictions into a folder: name it with --out FOLDER.")
    if outputs.annotations is not None:
        raise OptionError("--engine ray writes no --annotations: leave out --engine.")
    if outputs.kinds:
        raise OptionError("--engine ray writes no --dicom-seg and no --dicom-sr: leave out --engine.")
    if outputs.format is not Format.table:
        raise OptionError("--engine ray writes its table as Parquet into the folder: leave out --format.")
