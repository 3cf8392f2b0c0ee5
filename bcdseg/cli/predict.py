"""Command ``bcdseg predict``."""

from __future__ import annotations

from typing import Any

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli import predict_options as own
from bcdseg.cli.predict_outputs import Outputs, PredictRun, predict_archive, predict_here
from bcdseg.terminal import echo


def predict_command(
    paths: own.Paths,
    out: own.Out = None,
    format: own.Printed = own.Format.table,
    masks: own.Masks = True,
    overlay: own.Overlay = True,
    annotations: own.Annotations = None,
    overwrite: common.Overwrite = False,
    resume: own.Resume = False,
    model: common.ModelName = DEFAULT_MODEL,
    threshold: own.Threshold = None,
    operating_point: own.OperatingPoint = None,
    spacing: own.Spacing = None,
    frames: own.Frames = 1,
    mode: own.Mode = own.ModeName.whole,
    tile_scale: own.TileScale = 1.0,
    tile_overlap: own.TileOverlap = 0.25,
    tta: own.Tta = own.Augmentation.none,
    explain: own.Explain = False,
    dicom_seg: own.DicomSeg = False,
    dicom_sr: own.DicomSr = False,
    identity: own.IdentityOption = None,
    keep_identifiers: own.KeepIdentifiers = False,
    device: common.Device = "auto",
    runtime: own.RuntimeName = "auto",
    precision: own.Precision = "auto",
    batch_size: own.BatchSize = None,
    engine: own.EngineName = own.Engine.plain,
    ray_address: own.RayAddress = None,
    workers: own.WorkerCount = None,
    shard: own.Shard = None,
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
    from bcdseg.inference.sliding_window import Tiles
    from bcdseg.model.registry import load

    kinds = [kind for kind, wanted in (("seg", dicom_seg), ("sr", dicom_sr)) if wanted]
    named = annotations.value if annotations else None
    outputs = Outputs(out, format, masks, overlay, named, kinds, overwrite=overwrite, resume=resume)
    _check_engine(engine, outputs, ray_only=(ray_address, workers))
    loaded = load(model, device=device, runtime=runtime, precision=precision)
    if named is not None and loaded.config.decoder is None:
        raise OptionError(f"--annotations: {loaded.name} only classifies, so that there are no outlines to write.")
    asked: dict[str, Any] = {
        "spacing": spacing,
        "threshold": threshold,
        "explain": explain,
        "operating_point": operating_point,
        "identity": _identity(identity, keep_identifiers),
        "mode": mode.value,
        "tta": tta.value,
    }
    run_on = {"device": loaded.device, "runtime": loaded.runtime, "precision": loaded.precision, "engine": engine.value}
    written = {"annotations": named, "masks": masks, "overlay": overlay, "dicom": kinds}
    part = Shard.parse(shard) if shard is not None else None
    read = {"frames": frames, "tile_scale": tile_scale, "tile_overlap": tile_overlap, "shard": shard}
    weights = fingerprint(loaded)
    run = PredictRun(
        paths=paths,
        frames=frames,
        asked={**asked, "batch_size": batch_size, "tiles": Tiles(scale=tile_scale, overlap=tile_overlap)},
        settings=settings_of(loaded.name, weights, {**asked, **run_on, **written, **read}),
        outputs=outputs,
        shard=part,
    )
    if engine is own.Engine.ray:
        predict_archive(loaded, run, address=ray_address, workers=workers)
    else:
        predict_here(loaded, run)


def _identity(identity: own.IdentityName | None, keep_identifiers: bool) -> str:
    from bcdseg.errors import OptionError

    if keep_identifiers and identity is not None:
        raise OptionError("--keep-identifiers is deprecated and means --identity pacs: give --identity alone.")
    if keep_identifiers:
        echo("bcdseg: --keep-identifiers is deprecated: write --identity pacs.", err=True)
    return "pacs" if keep_identifiers else identity.value if identity else "shared"


def _check_engine(engine: own.Engine, outputs: Outputs, *, ray_only: tuple[str | None, int | None]) -> None:
    from bcdseg.errors import OptionError

    if outputs.annotations is not None and outputs.out is None:
        raise OptionError("--annotations writes files: name their folder with --out FOLDER.")
    if engine is own.Engine.plain:
        if ray_only != (None, None):
            raise OptionError("--ray-address and --workers are options of the engine ray: give --engine ray too.")
        return
    if outputs.out is None:
        raise OptionError("--engine ray writes its predictions into a folder: name it with --out FOLDER.")
    if outputs.annotations is not None:
        raise OptionError("--engine ray writes no --annotations: leave out --engine.")
    if outputs.kinds:
        raise OptionError("--engine ray writes no --dicom-seg and no --dicom-sr: leave out --engine.")
    if outputs.format is not own.Format.table:
        raise OptionError("--engine ray writes its table as Parquet into the folder: leave out --format.")
