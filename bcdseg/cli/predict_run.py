"""What ``bcdseg predict`` was asked for, besides the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from bcdseg.cli.predict_options import Format
from bcdseg.terminal import echo


@dataclass(frozen=True, kw_only=True)
class Run:
    """The options of one command.

    Attributes:
        settings: What has to be the same for a run to go on.
        asked: Options of ``Model.predict``.
        kinds: Of DICOM output.
    """

    paths: list[str]
    out: Path | None
    format: Format
    settings: dict[str, Any]
    asked: dict[str, Any]
    frames: int
    masks: bool
    overlay: bool
    kinds: list[str]
    resume: bool
    overwrite: bool


def interrupted(done: int, total: int, out: Path | None) -> typer.Exit:
    """What Ctrl-C ends with."""
    go_on = f" Their answers are in {out}/; the same command with --resume goes on." if out else ""
    echo(f"bcdseg: interrupted: {done} of {total} files are done.{go_on}", err=True)
    return typer.Exit(130)
