"""Command ``bcdseg train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.cli import options as common
from bcdseg.cli.options import in_hardware, in_model, in_output, option_group
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.training.run import Run

in_training = option_group("Training")

DataSet = Annotated[Path | None, typer.Argument(metavar="DATA", help="A data set: a folder or a table.", show_default=False)]
RecipeName = Annotated[
    str | None, in_model(metavar="NAME", help="A recipe (see bcdseg recipes), or a TOML file.  [default: default]")
]
ModelName = Annotated[
    str | None, in_model(metavar="NAME", help="Trained model to start from: bundled, a folder, or hf://owner/name.")
]
Encoder = Annotated[str | None, in_model(metavar="NAME", help="Encoder of a new model, such as resnet50.")]
Decoder = Annotated[
    str | None, in_model(metavar="NAME", help="Decoder of a new model; none is classification only.  [default: unet]")
]
Head = Annotated[
    str | None,
    in_model(metavar="NAME", help="Class head: guided, global, hierarchical, or none for segmentation only.  [default: guided]"),
]
Size = Annotated[int | None, in_model(metavar="PIXELS", help="Height and width of a new model's input.  [default: 256]")]
Weights = Annotated[
    str | None, in_model(metavar="NAME", help="Weights of the encoder: imagenet, a file, or none.  [default: the recipe's]")
]
Teacher = Annotated[str | None, in_training(metavar="NAME", help="Model whose outputs are distilled.")]
Epochs = Annotated[int | None, in_training(min=1, metavar="N", help="Number of epochs.  [default: the recipe's]")]
BatchSize = Annotated[int | None, in_training(min=1, metavar="N", help="Scans per step.  [default: the recipe's]")]
LearningRate = Annotated[float | None, in_training("--lr", metavar="RATE", help="Highest learning rate.  [default: the recipe's]")]
Seed = Annotated[int | None, in_training(min=0, metavar="N", help="Seed of the training and of new weights.  [default: 0]")]
ConfigFile = Annotated[
    Path | None,
    in_training(metavar="FILE", help="Options of training and of the model, a TOML or YAML file; or the folder of a run."),
]
Settings = Annotated[
    list[str] | None, in_training("--set", metavar="KEY=VALUE", help="Any other option of training; may be repeated.")
]
Out = Annotated[Path | None, in_output("--out", "-o", metavar="FOLDER", help="New folder of the run.  [default: runs/ENCODER-N]")]
Resume = Annotated[Path | None, in_output(metavar="FOLDER", help="Resume the stopped run in a folder.")]
Device = Annotated[str | None, in_hardware(metavar="NAME", help="auto, cpu, cuda or mps.  [default: auto]")]
Devices = Annotated[int | None, in_hardware(min=1, metavar="N", help="Number of devices of each machine; on a CPU, of processes.")]
Nodes = Annotated[int | None, in_hardware("--num-nodes", min=1, metavar="N", help="Number of machines.")]
Strategy = Annotated[str | None, in_hardware(metavar="NAME", help="Strategy: auto or ddp.")]


def train_command(
    data: DataSet = None,
    recipe: RecipeName = None,
    model: ModelName = None,
    encoder: Encoder = None,
    decoder: Decoder = None,
    head: Head = None,
    size: Size = None,
    weights: Weights = None,
    teacher: Teacher = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    seed: Seed = None,
    config: ConfigFile = None,
    set: Settings = None,
    split: common.SplitFile = None,
    layout: common.Layout = "auto",
    columns: common.Columns = None,
    class_map: common.ClassMap = None,
    on_problem: common.OnProblem = "error",
    resize_masks: common.ResizeMasks = False,
    out: Out = None,
    resume: Resume = None,
    device: Device = None,
    devices: Devices = None,
    num_nodes: Nodes = None,
    strategy: Strategy = None,
) -> None:
    """Train a model for segmentation and classification.

    Without --split the parts that the data prescribe are used; a missing validation part is divided from the training part. Other
    data are divided by patients and duplicates: 70 % for training, 10 % for the choice of the epoch, and 20 % for testing, which
    the run doesn't read. All options of training: bcdseg recipes default, or the documentation of FitConfig.

    A file of --config may contain all options of training, and recipe, model, encoder, decoder, head, size, weights and teacher.
    Options of the command line override it.

    Examples:
        bcdseg train Dataset_BUSI_with_GT
        bcdseg train DATA --recipe resnet50-3class+mask --epochs 20
        bcdseg train DATA --model busi-lite --lr 1e-4 -o fine-tuned
        bcdseg train --resume runs/resnet50-1
        bcdseg train OTHER-DATA --config runs/resnet50-1
        bcdseg train DATA --devices 4 --num-nodes 2 --strategy ddp
    """
    from bcdseg.errors import OptionError
    from bcdseg.training.command import Command, overridden, read_options, resume_run, start_run

    hardware = {"device": device, "devices": devices, "nodes": num_nodes, "strategy": strategy}
    settings = _settings(set or [], {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, **hardware})
    new_model = {"recipe": recipe, "model": model, "encoder": encoder, "decoder": decoder, "head": head, "weights": weights}
    new_run: dict[str, Any] = {
        **new_model,
        "size": size,
        "teacher": teacher,
        "split": None if split is None else str(split),
        "layout": None if layout == "auto" else layout,
        "columns": ",".join(columns or ()) or None,
        "class_map": ",".join(class_map or ()) or None,
        "on_problem": None if on_problem == "error" else on_problem,
        "resize_masks": resize_masks or None,
    }
    given = {name: value for name, value in new_run.items() if value is not None}
    if resume is not None:
        fixed = [*given, *(name for name, value in (("config", config), ("out", out)) if value is not None)]
        if fixed:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
            raise OptionError(f"{named}: a resumed run has its own; give --resume without.")
        _train(lambda: resume_run(resume, data, settings))
        return
    if data is None:
        raise OptionError("DATA is missing: give a folder or a table, or --resume FOLDER.")
    of_model, of_training = ({}, {}) if config is None else read_options(config)
    command = Command(data=str(data), **overridden(of_model, given))
    _train(lambda: start_run(command, command.config(of_training, settings), out))


def _settings(texts: list[str], options: dict[str, Any]) -> list[str]:
    """Return all options of training as ``key=value``; an error for one that is given twice."""
    from bcdseg.errors import OptionError
    from bcdseg.training.config import split_settings

    given = {name: str(value) for name, value in options.items() if value is not None}
    if twice := given.keys() & split_settings(texts):
        raise OptionError(f"{min(twice)} is given twice, as an option of its own and with --set: give it once.")
    return [*texts, *(f"{name}={value}" for name, value in given.items())]


def _train(train: Callable[[], Run]) -> None:
    try:
        _print(train())
    except KeyboardInterrupt as stop:
        echo(f"bcdseg: {stop}", err=True)
        raise typer.Exit(130) from None


def _print(run: Run) -> None:
    from bcdseg.training.engine import figures
    from bcdseg.training.loop.processes import is_first

    if not is_first():
        return
    scores = ", ".join(f"{name} {value:.3f}" for name, value in figures(run.history[run.best_epoch - 1]).items())
    echo(f"Best epoch {run.best_epoch} of {len(run.history)}, by its validation scans: {scores}")
    echo(f"The run is in {run.folder}, its model in {run.folder / 'model'}")
    echo(f"Use it: bcdseg predict scan.png --model {run.folder / 'model'}")
