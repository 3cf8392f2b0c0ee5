"""Command ``bcdseg train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.cli.data_options import LAYOUT, ClassMap, Columns
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.training.run import Run


def train_command(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="A data set: a folder or a table.", show_default=False)
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Name of a recipe (see bcdseg recipes), or a TOML file.  [default: default]")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Trained model to start from: bundled, a folder, or hf://owner/name.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Encoder of a new model, such as resnet50.")] = None,
    decoder: Annotated[
        str | None, typer.Option(help="Decoder of a new model; none is classification only.  [default: unet]")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Class head: guided, global, or none for segmentation only.  [default: guided]")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Height and width of a new model's input.  [default: 256]")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights of the encoder: imagenet, a file, or none.  [default: the recipe's]")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Model whose outputs are distilled.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Number of epochs.  [default: the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Scans per step.  [default: the recipe's]")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.  [default: the recipe's]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the training and of new weights.  [default: 0]")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Options of training, a TOML or YAML file.")] = None,
    set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any other option of training; may be repeated.")
    ] = None,
    split: Annotated[Path | None, typer.Option(metavar="FILE", help="Split that bcdseg split wrote.")] = None,
    layout: Annotated[str, typer.Option(help=LAYOUT)] = "auto",
    columns: Columns = None,
    class_map: ClassMap = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="New folder of the run.  [default: runs/ENCODER-N]")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Resume the stopped run in a folder.")] = None,
    device: Annotated[str | None, typer.Option(help="Device: auto, cpu, cuda or mps.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Number of devices of each machine; on a CPU, of processes.")] = None,
    num_nodes: Annotated[int | None, typer.Option(min=1, help="Number of machines.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Strategy: auto or ddp.")] = None,
) -> None:
    """Train a model for segmentation and classification.

    Without --split the parts that the data prescribe are used; a missing validation part is divided from the training part. Other
    data are divided by patients and duplicates: 70 % for training, 10 % for the choice of the epoch, and 20 % for testing, which
    the run doesn't read. All options of training: bcdseg recipes default, or the documentation of FitConfig.

    Examples:  bcdseg train Dataset_BUSI_with_GT  |  bcdseg train DATA --recipe resnet50-3class+mask --epochs 20  |
    bcdseg train DATA --model busi-lite --lr 1e-4 -o fine-tuned  |  bcdseg train --resume runs/resnet50-1  |
    bcdseg train DATA --devices 4 --num-nodes 2 --strategy ddp
    """
    from bcdseg.errors import OptionError
    from bcdseg.training.command import Command, resume_run, start_run
    from bcdseg.training.config_file import split_settings

    named = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "device": device,
        "devices": devices,
        "nodes": num_nodes,
        "strategy": strategy,
    }
    given = {name: str(value) for name, value in named.items() if value is not None}
    if twice := given.keys() & split_settings(set or []):
        raise OptionError(f"{min(twice)} is given twice, as an option of its own and with --set: give it once.")
    settings = [*(set or []), *(f"{name}={value}" for name, value in given.items())]
    if resume is not None:
        refused = {
            "--recipe": recipe,
            "--model": model,
            "--encoder": encoder,
            "--decoder": decoder,
            "--head": head,
            "--size": size,
            "--weights": weights,
            "--teacher": teacher,
            "--config": config,
            "--split": split,
            "--layout": None if layout == "auto" else layout,
            "--columns": columns or None,
            "--class-map": class_map or None,
            "--out": out,
        }
        if fixed := [name for name, value in refused.items() if value is not None]:
            raise OptionError(f"{', '.join(fixed)}: a resumed run has its own; give --resume without.")
        _train(lambda: resume_run(resume, data, settings))
        return
    if data is None:
        raise OptionError("DATA is missing: give a folder or a table, or --resume FOLDER.")
    command = Command(
        data=str(data),
        layout=layout,
        columns=",".join(columns) if columns else None,
        class_map=",".join(class_map) if class_map else None,
        split=None if split is None else str(split),
        recipe=recipe,
        model=model,
        encoder=encoder,
        decoder=decoder,
        head=head,
        weights=weights,
        size=size,
        teacher=teacher,
    )
    _train(lambda: start_run(command, command.config(config, settings), out))


def _train(train: Callable[[], Run]) -> None:
    try:
        _print(train())
    except KeyboardInterrupt as stop:
        echo(f"bcdseg: {stop}", err=True)
        raise typer.Exit(130) from None


def _print(run: Run) -> None:
    from bcdseg.training.engine import figures
    from bcdseg.training.loop.distributed import is_first

    if not is_first():
        return
    scores = ", ".join(f"{name} {value:.3f}" for name, value in figures(run.history[run.best_epoch - 1]).items())
    echo(f"Best epoch {run.best_epoch} of {len(run.history)}, by its validation scans: {scores}")
    echo(f"The run is in {run.folder}, its model in {run.folder / 'model'}")
    echo(f"Use it: bcdseg predict scan.png --model {run.folder / 'model'}")
