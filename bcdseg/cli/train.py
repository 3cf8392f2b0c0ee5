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
    recipe: Annotated[str | None, typer.Option(help="A named way to train; see bcdseg recipes.  [default: default]")] = None,
    model: Annotated[str | None, typer.Option(help="A trained model to go on from: bundled, a folder, or hf://owner/name.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Make a new model with this encoder, such as resnet50.")] = None,
    decoder: Annotated[str | None, typer.Option(help="Of a new model; none is classification only.  [default: unet]")] = None,
    head: Annotated[str | None, typer.Option(help="guided, global, or none for segmentation only.  [default: guided]")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width that a new model sees scans at.  [default: 256]")] = None,
    weights: Annotated[str | None, typer.Option(help="The encoder's: imagenet, a file, or none.  [default: the recipe's]")] = None,
    teacher: Annotated[str | None, typer.Option(help="A model whose answers are learned besides.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Options of training, TOML or YAML.")] = None,
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="One option of training; may be repeated.")] = None,
    split: Annotated[Path | None, typer.Option(metavar="FILE", help="A split that bcdseg split wrote.")] = None,
    layout: Annotated[str, typer.Option(help=LAYOUT)] = "auto",
    columns: Columns = None,
    class_map: ClassMap = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A new folder.  [default: runs/ENCODER-N]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Go on with a run that was stopped.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Devices of each machine; on a CPU, processes.")] = None,
    num_nodes: Annotated[int | None, typer.Option(min=1, help="Machines.")] = None,
    strategy: Annotated[str | None, typer.Option(help="auto or ddp.")] = None,
) -> None:
    """Train a model to outline and to classify.

    Without --split the data are divided by patient and copy: 70 % to train, 10 % to choose the epoch by, and 20 %, which the run
    never sees, to measure on. All options of training: bcdseg recipes default, or the documentation of FitConfig.

    Examples:  bcdseg train Dataset_BUSI_with_GT  |  bcdseg train DATA --recipe resnet50-3class+mask --set epochs=20  |
    bcdseg train DATA --model busi-lite --out fine-tuned  |  bcdseg train --resume runs/resnet50-1  |
    bcdseg train DATA --devices 4 --num-nodes 2 --strategy ddp
    """
    from bcdseg.errors import OptionError
    from bcdseg.training.command import Command, resume_run, start_run

    machine = {"device": device, "devices": devices, "nodes": num_nodes, "strategy": strategy}
    settings = [*(set or []), *(f"{name}={value}" for name, value in machine.items() if value is not None)]
    if resume is not None:
        refused = {"--recipe": recipe, "--model": model, "--encoder": encoder, "--config": config, "--split": split, "--out": out}
        if given := [name for name, value in refused.items() if value is not None]:
            raise OptionError(f"{', '.join(given)}: a run that goes on has its own; give --resume without.")
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
    from bcdseg.training.loop.distributed import is_first
    from bcdseg.training.training_metadata import figures

    if not is_first():
        return
    scores = ", ".join(f"{name} {value:.3f}" for name, value in figures(run.history[run.best_epoch - 1]).items())
    echo(f"Best epoch {run.best_epoch} of {len(run.history)}, by its validation scans: {scores}")
    echo(f"The run is in {run.folder}, its model in {run.folder / 'model'}")
    echo(f"Use it: bcdseg predict scan.png --model {run.folder / 'model'}")
