"""Command ``bcdseg predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import predict_options as option
from bcdseg.cli.predict_outputs import PredictRun, predict_archive, predict_here
from bcdseg.terminal import echo


def predict_command(
    paths: option.Paths,
    out: option.Out = None,
    format: option.Printed = option.Format.table,
    masks: option.Masks = True,
    overlay: option.Overlay = True,
    model: option.ModelName = DEFAULT_MODEL,
    device: option.Device = "auto",
    runtime: option.RuntimeName = "auto",
    precision: option.Precision = "auto",
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
    annotations: option.Annotations = None,
    dicom_seg: option.DicomSeg = False,
    dicom_sr: option.DicomSr = False,
    identity: option.IdentityOption = None,
    keep_identifiers: option.KeepIdentifiers = False,
    engine: option.EngineName = option.Engine.plain,
    ray_address: option.RayAddress = None,
    workers: option.WorkerCount = None,
) -> None:
    """Outline and classify scans.

    Exit status: 0 all good, 1 some scans could not be read, 2 wrong usage, 130 interrupted.

    Examples:  bcdseg predict scan.png  |  bcdseg predict scans/ --out results --spacing 0.1  |
    bcdseg predict 'scans/*.png' --format csv > table.csv  |  bcdseg predict mammogram.dcm --mode tiles  |
    bcdseg predict s3://bucket/archive --engine ray --out results --no-overlay
    """
    from bcdseg.batch.run_manifest import fingerprint, settings_of
    from bcdseg.errors import OptionError
    from bcdseg.inference.sliding_window import Tiles
    from bcdseg.model.registry import load

    _check_annotations(annotations, out, engine)
    _check_engine(engine, out, format, dicom=dicom_seg or dicom_sr, ray_only=(ray_address, workers))
    loaded = load(model, device=device, runtime=runtime, precision=precision)
    if annotations is not None and loaded.network.config.decoder is None:
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
    kinds = [kind for kind, given in (("seg", dicom_seg), ("sr", dicom_sr)) if given]
    given: dict[str, Any] = {
        "device": loaded.device,
        "runtime": loaded.runtime,
        "precision": loaded.precision,
        "engine": engine.value,
    }
    given["annotations"] = annotations.value if annotations else None
    given |= {"masks": masks, "overlay": overlay, "frames": frames, "tile_scale": tile_scale, "tile_overlap": tile_overlap}
    weights = fingerprint(loaded.network, loaded.preprocessing, loaded.rules)
    run = PredictRun(
        paths=paths,
        out=out,
        format=format,
        settings=settings_of(loaded.name, weights, {**asked, **given, "dicom": kinds}),
        asked={**asked, "batch_size": batch_size, "tiles": Tiles(scale=tile_scale, overlap=tile_overlap)},
        frames=frames,
        masks=masks,
        overlay=overlay,
        annotations=given["annotations"],
        kinds=kinds,
        resume=resume,
        overwrite=overwrite,
    )
    if engine is option.Engine.ray:
        predict_archive(loaded, run, address=ray_address, workers=workers)
    else:
        predict_here(loaded, run)


def _identity(identity: option.IdentityName | None, keep_identifiers: bool) -> str:
    from bcdseg.errors import OptionError

    if keep_identifiers and identity is not None:
        raise OptionError("--keep-identifiers is deprecated and means --identity pacs: give --identity alone.")
    if keep_identifiers:
        echo("bcdseg: --keep-identifiers is deprecated: write --identity pacs.", err=True)
    return "pacs" if keep_identifiers else identity.value if identity else "shared"


def _check_annotations(annotations: option.AnnotationFormat | None, out: Path | None, engine: option.Engine) -> None:
    from bcdseg.errors import OptionError

    if annotations is not None and out is None:
        raise OptionError("--annotations writes files: name their folder with --out FOLDER.")
    if annotations is not None and engine is option.Engine.ray:
        raise OptionError("--engine ray writes no --annotations: leave out --engine.")


def _check_engine(
    engine: option.Engine, out: Path | None, format: option.Format, *, dicom: bool, ray_only: tuple[str | None, int | None]
) -> None:
    from bcdseg.errors import OptionError

    if engine is option.Engine.plain and ray_only != (None, None):
        raise OptionError("--ray-address and --workers are of the engine ray: give --engine ray too.")
    if engine is option.Engine.ray and out is None:
        raise OptionError("--engine ray writes its answers into a folder: say where to with --out FOLDER.")
    if engine is option.Engine.ray and dicom:
        raise OptionError("--engine ray writes no --dicom-seg and no --dicom-sr: leave out --engine.")
    if engine is option.Engine.ray and format is not option.Format.table:
        raise OptionError("--engine ray writes its table as Parquet into the folder: leave out --format.")
