"""``bcdseg info``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bcdseg.terminal import echo, make_console, printable

PACKAGES = ("torch", "openvino", "onnxruntime", "segmentation-models-pytorch", "timm", "monai", "scikit-image", "numpy", "pillow")


def info_command(
    model: Annotated[str, typer.Argument(help="A bundled model, a model folder, or hf://owner/name.")] = "busi-lite",
    diagram: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the network into this file instead.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file when it is there already.")] = False,
    drift: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Measure on these scans how far each runtime drifts from torch instead.")
    ] = None,
) -> None:
    """Show a model's card, and the versions and devices it runs on.

    Examples:  bcdseg info  |  bcdseg info my-model --diagram network.svg  |  bcdseg info my-model --drift my-scans
    """
    if drift is not None:
        from bcdseg.cli.drift_table import print_drift

        print_drift(model, drift)
        return
    from bcdseg.model.registry import load

    loaded = load(model)
    if diagram is not None:
        from bcdseg.files import write_whole
        from bcdseg.model.diagram import draw_diagram

        write_whole(diagram, draw_diagram(loaded).encode(), overwrite=overwrite)
        echo(f"The network is drawn in {diagram}")
        return
    card = loaded.card.partition("---\n")[2].partition("---\n")[2]  # without the hub's metadata
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        make_console().print(Markdown(printable(card)))
    else:
        echo(card)
    echo("\n".join(_machine()))


def _machine() -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from bcdseg import __version__
    from bcdseg.infer.runtimes import choose_precision, choose_runtime
    from bcdseg.infer.torch_runtime import choose_device

    device = choose_device("auto")
    precision = choose_precision(device=device)
    runtime = choose_runtime(precision=precision, device=device)
    lines = [f"bcdseg {__version__}, Python {sys.version.partition(' ')[0]}, predicts on {device} with {runtime} in {precision}"]
    lines += [f"CUDA device {index}: {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    for package in PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} is not installed")
    return lines
