"""Commands ``bcdseg models``, ``bcdseg info``, ``bcdseg export`` and ``bcdseg fit-site``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.terminal import echo, make_console, printable

if TYPE_CHECKING:
    from bcdseg.inference.predictor import Result
    from bcdseg.model.runtime_agreement import RuntimeAgreement, Scans


def models_command() -> None:
    """List the models that come in the package.

    Example:  bcdseg models
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


def info_command(
    model: Annotated[str, typer.Argument(help="A bundled model, a model folder, or hf://owner/name.")] = DEFAULT_MODEL,
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
    from bcdseg.runtimes.torch_runtime import choose_device

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
        f"Within the bound: Dice of the masks {LEAST_DICE} or more, the same class in {LEAST_SAME_CLASS:.0%} or more, "
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
    same = "" if found.same_class is None else f"{found.same_class:.1%}"
    difference = "" if found.probability_difference is None else f"{found.probability_difference:.4f}"
    return ROW.format(runtime, precision, dice, same, difference, "yes" if found.within else "no")


def export_command(
    model: Annotated[str, typer.Argument(help="A bundled model, a model folder, or hf://owner/name.")] = DEFAULT_MODEL,
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


def fit_site_command(
    model: Annotated[str, typer.Argument(help="A bundled model, a model folder, or hf://owner/name.")],
    data: Annotated[Path, typer.Argument(help="Scans of the site with labels, masks or both: a folder or a table.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the model with the fitted rules.")],
    coverage: Annotated[float, typer.Option(help="Probability that a label set contains the true class.")] = 0.9,
    lesions_shown: Annotated[
        float, typer.Option(help="Fraction of the outlined lesions that the presence threshold leaves findings.")
    ] = 0.95,
    sensitivity: Annotated[
        list[float] | None, typer.Option(help="A sensitivity to reach; repeat it.  [default: 0.9 and 0.95]")
    ] = None,
    specificity: Annotated[list[float] | None, typer.Option(help="A specificity to reach; repeat it.  [default: 0.9]")] = None,
    positive: Annotated[str, typer.Option(help="Class of the operating points; auto is malignant.")] = "auto",
    only_unseen: Annotated[
        bool, typer.Option("--unseen", help="Leave out scans that the model was trained on, copies of them and their groups.")
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the changes and their effects here too.")] = None,
    draws: Annotated[int, typer.Option(min=0, help="Bootstrap draws.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds and of the bootstrap.")] = 0,
    layout: Annotated[str, typer.Option(help="How the data set lies on disk.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model and a report that exist already.")] = False,
) -> None:
    """Fit a model's decision rules to some 30 to 300 scans of your site, without training.

    Rules that the scans are too few to determine are kept, and the command prints how many more are needed.

    Exit status: 0 all good, 2 wrong usage, or scans that the model was trained on.

    Examples:  bcdseg fit-site bus-multi my-scans --out my-site  |  bcdseg fit-site mine scans.csv --out my-site --coverage 0.95
    """
    from bcdseg.data.opening import open_dataset
    from bcdseg.errors import LeakError
    from bcdseg.evaluation.site import fit_site
    from bcdseg.evaluation.training_overlap import unseen
    from bcdseg.files import check_free, write_whole
    from bcdseg.inference.writers import json_bytes
    from bcdseg.model.registry import load

    check_free([out] if report is None else [out, report], overwrite=overwrite)
    loaded, scans = load(model, device=device), open_dataset(data, layout)
    if only_unseen and not (scans := unseen(loaded, scans)):
        raise LeakError(f"{data}: {loaded.name} was trained or chosen on all of these scans or their groups: none is left.")
    fitted = fit_site(
        loaded,
        scans,
        coverage=coverage,
        lesions_shown=lesions_shown,
        sensitivity=sensitivity or (0.9, 0.95),
        specificity=specificity or 0.9,
        positive=positive,
        draws=draws,
        seed=seed,
    )
    fitted.model.save(out, overwrite=overwrite)
    if report is not None:
        write_whole(report, json_bytes(fitted.to_dict()), overwrite=overwrite)
    echo("\n".join([*fitted.lines, f"\nThe model is {out}"]))
