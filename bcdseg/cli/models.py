"""Commands ``bcdseg models``, ``bcdseg info`` and ``bcdseg export``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli.options import in_output
from bcdseg.messages import percent
from bcdseg.terminal import echo, make_console, printable

if TYPE_CHECKING:
    from bcdseg.inference.predictor import Result
    from bcdseg.model.runtime_agreement import RuntimeAgreement, Scans


def models_command() -> None:
    """List the models that come in the package.

    Examples:
        bcdseg models
    """
    from rich.markup import escape
    from rich.table import Table

    from bcdseg.model.registry import models

    console = make_console(width=None if sys.stdout.isatty() else 140, highlight=False)
    for one in models():
        table = Table(show_header=False, box=None, pad_edge=False)
        for title, text in (
            ("classes", " / ".join(one.classes)),
            ("encoder", one.encoder),
            ("input", "{} x {}".format(*one.preprocessing.size)),
            ("file", f"{one.file.name}, {one.megabytes:.1f} MB, SHA-256 {one.sha256}"),
            ("licence", one.licence),
            ("cite", one.citation),
        ):
            table.add_row(title, escape(text))
        console.print(f"{one.name}{' (the default)' if one.name == DEFAULT_MODEL else ''}: {one.summary}", markup=False)
        console.print(table)
    echo("\nThe card of one: bcdseg info NAME. Use it: bcdseg.load(NAME), bcdseg predict --model NAME")


PACKAGES = ("torch", "openvino", "onnxruntime", "segmentation-models-pytorch", "timm", "monai", "scikit-image", "numpy", "pillow")


Diagram = Annotated[Path | None, in_output(metavar="FILE.svg", help="Draw the network into this file instead.")]
Agreement = Annotated[
    str | None,
    typer.Option("--drift", metavar="FOLDER", help="Measure on these scans how closely runtimes agree with torch instead."),
]


def info_command(
    model: common.ModelArgument = DEFAULT_MODEL,
    diagram: Diagram = None,
    overwrite: common.Overwrite = False,
    drift: Agreement = None,
) -> None:
    """Show a model's card, and the versions and devices it runs on.

    Examples:
        bcdseg info
        bcdseg info my-model --diagram network.svg
        bcdseg info my-model --drift my-scans
    """
    from bcdseg.errors import OptionError

    if drift is not None:
        if diagram is not None:
            raise OptionError("--drift prints a table, and --diagram draws the network: give one of them.")
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
    from bcdseg.runtimes.choice import choose_precision, choose_runtime
    from bcdseg.runtimes.device import choose_device

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


ROW = "| {:<11} | {:<9} | {:>6} | {:>10} | {:>13} | {:<16} |"


def print_drift(model: str, source: str) -> None:
    """Measure each runtime in each of its precisions against torch in fp32, and print each row as soon as it is measured."""
    from bcdseg.errors import BcdsegError, RuntimeFallbackWarning
    from bcdseg.model.registry import load
    from bcdseg.model.runtime_agreement import LEAST_DICE, LEAST_SAME_CLASS, MOST_DIFFERENCE, drop_maps, split_scans
    from bcdseg.runtimes.choice import PRECISIONS

    scans = split_scans(source)
    exact = drop_maps(load(model, runtime="torch").predict(scans.measured, on_error="keep"))
    echo(
        f"Agreement of {model} with torch in fp32, over {len(scans.measured)} scans; "
        f"int8 took its ranges from {len(scans.ranges)} others.\n"
        f"Within the bound: Dice of the masks {LEAST_DICE} or more, the same class in {percent(LEAST_SAME_CLASS)} or more, "
        f"a mean difference of the probabilities of {MOST_DIFFERENCE} or less.\n"
    )
    echo(ROW.format("runtime", "precision", "Dice", "same class", "probabilities", "within the bound"))
    echo(ROW.format(*["---"] * 6))
    left_out: list[str] = []
    for name, precision in ((name, one) for name, each in PRECISIONS.items() for one in each):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeFallbackWarning)
                found = _measured(model, name, precision, scans, exact)
        except (BcdsegError, RuntimeFallbackWarning) as reason:
            left_out.append(f"{name} with {precision} is left out: {reason}")
        else:
            echo(_row(name, precision, found))
    echo("".join(f"\n{line}" for line in left_out))


def _measured(model: str, runtime: str, precision: str, scans: Scans, exact: list[Result]) -> RuntimeAgreement:
    from bcdseg.model.registry import load
    from bcdseg.model.runtime_agreement import measure
    from bcdseg.runtimes.choice import RUNTIME_DEVICES

    ranges = list(scans.ranges) if precision == "int8" else None
    device = "auto" if "cuda" in RUNTIME_DEVICES[runtime] else "cpu"
    loaded = load(model, device=device, runtime=runtime, precision=precision, calibrate_on=ranges)
    return measure(exact, loaded.predict(scans.measured, on_error="keep"))


def _row(runtime: str, precision: str, found: RuntimeAgreement) -> str:
    dice = "" if found.dice is None else f"{found.dice:.4f}"
    same = "" if found.same_class is None else percent(found.same_class, 1)
    difference = "" if found.probability_difference is None else f"{found.probability_difference:.4f}"
    return ROW.format(runtime, precision, dice, same, difference, "yes" if found.within else "no")


OutFile = Annotated[
    Path | None, in_output("--out", "-o", metavar="FILE", help="File to write.  [default: the model's name, in this folder]")
]
Format = Annotated[
    str | None,
    in_output(
        metavar="NAME",
        help="onnx (.onnx), openvino (.xml), litert (.tflite), torch (.pt2) or monai (.zip).  [default: by the suffix of --out]",
    ),
]
Precision = Annotated[str, typer.Option(metavar="NAME", help="fp32, fp16 or int8.")]
CheckOn = Annotated[Path | None, typer.Option(metavar="SCANS", help="Scans to compare the outputs on: an image or a folder.")]
CalibrateOn = Annotated[Path | None, typer.Option(metavar="FOLDER", help="For int8: scans that determine the ranges.")]


def export_command(
    model: common.ModelArgument = DEFAULT_MODEL,
    out: OutFile = None,
    format: Format = None,
    precision: Precision = "fp32",
    check_on: CheckOn = None,
    calibrate_on: CalibrateOn = None,
    overwrite: common.Overwrite = False,
) -> None:
    """Write a model, from scan to mask and probabilities, as a file that runs without this library.

    The file is run before it is written; one whose outputs differ from the model's is not written.

    Examples:
        bcdseg export --format onnx
        bcdseg export my-model -o model.xml --precision int8 --calibrate-on scans/
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
