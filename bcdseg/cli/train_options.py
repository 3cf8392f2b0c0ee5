"""Options of ``bcdseg train``, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcdseg.cli.options import DATA, HARDWARE, MODEL, OUTPUT

TRAINING = "Training"

DataSet = Annotated[Path | None, typer.Argument(metavar="DATA", help="A data set: a folder or a table.", show_default=False)]
RecipeName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A recipe (see bcdseg recipes), or a TOML file.  [default: default]", rich_help_panel=MODEL),
]
ModelName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Trained model to start from: bundled, a folder, or hf://owner/name.", rich_help_panel=MODEL),
]
Encoder = Annotated[
    str | None, typer.Option(metavar="NAME", help="Encoder of a new model, such as resnet50.", rich_help_panel=MODEL)
]
Decoder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Decoder of a new model; none is classification only.  [default: unet]", rich_help_panel=MODEL
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Class head: guided, global, hierarchical, or none for segmentation only.  [default: guided]",
        rich_help_panel=MODEL,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", help="Height and width of a new model's input.  [default: 256]", rich_help_panel=MODEL),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Weights of the encoder: imagenet, a file, or none.  [default: the recipe's]",
        rich_help_panel=MODEL,
    ),
]
Teacher = Annotated[str | None, typer.Option(metavar="NAME", help="Model whose outputs are distilled.", rich_help_panel=TRAINING)]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of epochs.  [default: the recipe's]", rich_help_panel=TRAINING),
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Scans per step.  [default: the recipe's]", rich_help_panel=TRAINING)
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", metavar="RATE", help="Highest learning rate.  [default: the recipe's]", rich_help_panel=TRAINING),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Seed of the training and of new weights.  [default: 0]", rich_help_panel=TRAINING),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Options of training, a TOML or YAML file.", rich_help_panel=TRAINING),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other option of training; may be repeated.", rich_help_panel=TRAINING),
]
SplitFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Split that bcdseg split wrote.", rich_help_panel=DATA)]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FOLDER", help="New folder of the run.  [default: runs/ENCODER-N]", rich_help_panel=OUTPUT),
]
Resume = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Resume the stopped run in a folder.", rich_help_panel=OUTPUT)]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]", rich_help_panel=HARDWARE)
]
Devices = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of devices of each machine; on a CPU, of processes.", rich_help_panel=HARDWARE),
]
Nodes = Annotated[int | None, typer.Option("--num-nodes", min=1, metavar="N", help="Number of machines.", rich_help_panel=HARDWARE)]
Strategy = Annotated[str | None, typer.Option(metavar="NAME", help="Strategy: auto or ddp.", rich_help_panel=HARDWARE)]
