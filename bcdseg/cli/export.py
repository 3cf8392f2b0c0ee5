"""``bcdseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcdseg.terminal import echo


def export_command(
    model: Annotated[str, typer.Argument(help="A bundled model, a model folder, or hf://owner/name.")] = "busi-lite",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="By default the model's name in this folder.")] = None,
    format: Annotated[
        str | None,
        typer.Option(help="onnx (.onnx), openvino (.xml), litert (.tflite), torch (.pt2) or monai (.zip); else --out's suffix."),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    check_on: Annotated[Path | None, typer.Option(help="Scans to check the answers on: an image or a folder.")] = None,
    calibrate_on: Annotated[Path | None, typer.Option(help="For int8: a folder of scans to take ranges from.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file when it is there already.")] = False,
) -> None:
    """Write a model, from scan to mask and probabilities, as a file that runs without this library.

    The file is run first: one that doesn't answer as the model does is not written.

    Examples:  bcdseg export --format onnx  |  bcdseg export my-model --out model.xml --precision int8 --calibrate-on scans/
    """
    from bcdseg.errors import OptionError
    from bcdseg.export.formats import FORMATS
    from bcdseg.model.registry import load

    if format is not None and format not in FORMATS:
        raise OptionError(f"--format {format} is unknown: choose one of {', '.join(FORMATS)}.")
    loaded = load(model, runtime="torch")
    if out is None:
        out = Path(Path(loaded.name).name + FORMATS[format or "onnx"].suffix)
    written = loaded.export(
        out, format=format, precision=precision, check_on=check_on, calibrate_on=calibrate_on, overwrite=overwrite
    )
    echo(str(written))
