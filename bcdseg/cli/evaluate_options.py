"""Options of ``bcdseg evaluate``, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcdseg.cli.options import DATA, MODEL_HELP, OUTPUT, RESULTS

CALIBRATION = "Calibration"

ModelOrPredictions = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP[:-1]}; or a folder or table of predictions.")
]
DataSets = Annotated[
    list[Path],
    typer.Argument(metavar="DATA", help="The data set: a folder or a table; several for an external validation in one table."),
]
Gallery = Annotated[int, typer.Option(min=0, metavar="N", help="Scans of each kind to show.", rich_help_panel=OUTPUT)]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show Grad-CAM maps of the predicted class in the gallery.", rich_help_panel=OUTPUT)
]
SplitFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A split that bcdseg split wrote.", rich_help_panel=DATA)]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The part to evaluate on: test, val or train.  [default: test, of a split]", rich_help_panel=DATA
    ),
]
SubgroupFacts = Annotated[
    list[str] | None,
    typer.Option(
        "--subgroup",
        metavar="FACT",
        help="Compare by a fact, such as device, or by class or size; cut points: age:50,70. May be repeated.",
        rich_help_panel=RESULTS,
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", metavar="NAME", help="A registered metric; may be repeated.", rich_help_panel=RESULTS),
]
Prevalences = Annotated[
    list[float] | None,
    typer.Option(
        "--prevalence",
        metavar="FRACTION",
        help="Prevalence of the positive class at which to state predictive values; may be repeated.",
        rich_help_panel=RESULTS,
    ),
]
ClassOrder = Annotated[
    str | None,
    typer.Option(
        metavar="CLASSES", help="Classes from the lowest to the highest, for weighted kappas: 2,3,4,5.", rich_help_panel=RESULTS
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance-mm", min=0, metavar="MM", help="Tolerance of the surface Dice in millimetres.", rich_help_panel=RESULTS
    ),
]
Compare = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Another model to compare with; may be repeated.", rich_help_panel=RESULTS),
]
Robustness = Annotated[
    bool,
    typer.Option("--robustness", help="Evaluate on corrupted scans too; takes some 25 times as long.", rich_help_panel=RESULTS),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="The same seed gives the same intervals.", rich_help_panel=RESULTS)]
CalibrateOn = Annotated[
    str | None,
    typer.Option(metavar="PART", help="Calibrate on this part of the split first: val.", rich_help_panel=CALIBRATION),
]
Sensitivities = Annotated[
    list[float] | None,
    typer.Option(
        "--sensitivity",
        metavar="FRACTION",
        help="With --calibrate-on: a sensitivity to reach; may be repeated.",
        rich_help_panel=CALIBRATION,
    ),
]
Specificities = Annotated[
    list[float] | None,
    typer.Option(
        "--specificity",
        metavar="FRACTION",
        help="With --calibrate-on: a specificity to reach; may be repeated.",
        rich_help_panel=CALIBRATION,
    ),
]
