"""Options that several commands have in common, and help that lists options in groups and examples line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset


def option_group(title: str) -> Callable[..., Any]:
    """Return a function like ``typer.Option`` that declares an option in a group of the help.

    Args:
        title: Title of the group.
    """
    return partial(typer.Option, rich_help_panel=title)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is a dataclass of options by the options that are its fields.

    Args:
        command: Function that is called with instances of the dataclasses.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    defaults: dict[str, Any] = {}
    for one in signature(command).parameters.values():
        group = groups.get(one.name)
        defaults |= {one.name: one.default} if group is None else {field.name: field.default for field in fields(group)}
        hints |= {} if group is None else get_type_hints(group, include_extras=True)

    @wraps(command)
    def call(**given: Any) -> None:
        made = {name: kind(**{field.name: given.pop(field.name) for field in fields(kind)}) for name, kind in groups.items()}
        command(**given, **made)

    parameters = [Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hints[name]) for name in defaults]
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {name: hints[name] for name in defaults}
    return call


in_data, in_model, in_output = option_group("Data"), option_group("Model"), option_group("Output")
in_hardware, in_results = option_group("Hardware"), option_group("Results")

MODEL_HELP = "A bundled model, a model folder, or hf://owner/name."

DataSet = Annotated[Path, typer.Argument(metavar="DATA", help="A data set: a folder or a table.", show_default=False)]
Layout = Annotated[str, in_data("--layout", metavar="NAME", help="How the data set is laid out; auto recognises it.")]
Columns = Annotated[
    list[str] | None,
    in_data(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Columns of a table: image=file,label=finding,group=patient_nr. Common names are recognised.",
    ),
]
ClassMap = Annotated[
    list[str] | None,
    in_data(
        "--class-map", metavar="LABEL=CLASS,...", help="Classes by label: Cancer=malignant,Cyst=benign. LABEL= leaves scans out."
    ),
]
OnProblem = Annotated[
    str, in_data("--on-problem", metavar="WHAT", help="error: stop at missing and unpaired files; skip: leave their scans out.")
]
ResizeMasks = Annotated[bool, in_data("--resize-masks", help="Resize masks whose size differs from that of their image.")]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
ModelName = Annotated[str, in_model("--model", metavar="NAME", help=MODEL_HELP)]
Threshold = Annotated[
    float | None, in_model("--threshold", metavar="PROBABILITY", help="Mask probability from which a pixel is outlined.")
]
OperatingPoint = Annotated[
    str | None,
    in_model("--operating-point", metavar="NAME", help="Decide the class at this stored point, such as 'sensitivity 0.95'."),
]
Frames = Annotated[int, in_data("--frames", min=1, metavar="N", help="Each n-th frame of clips.")]
SplitFile = Annotated[Path | None, in_data("--split", metavar="FILE", help="A split that bcdseg split wrote.")]
Device = Annotated[str, in_hardware("--device", metavar="NAME", help="auto, cpu, cuda or mps.")]
Out = Annotated[Path, in_output("--out", "-o", metavar="FOLDER", help="Folder of the results.")]
Overwrite = Annotated[bool, in_output("--overwrite", help="Replace results that exist already.")]
Draws = Annotated[int, in_results("--draws", min=0, metavar="N", help="Bootstrap draws; 0 leaves the intervals out.")]
Sensitivities = Annotated[
    list[float] | None, in_results("--sensitivity", metavar="FRACTION", help="A sensitivity to reach; may be repeated.")
]
Specificities = Annotated[
    list[float] | None, in_results("--specificity", metavar="FRACTION", help="A specificity to reach; may be repeated.")
]


@dataclass(frozen=True)
class DataOptions:
    """Options for opening a data set."""

    layout: str = "auto"
    columns: list[str] | None = None
    class_map: list[str] | None = None
    on_problem: str = "error"
    resize_masks: bool = False

    def open(self, path: Path) -> Dataset:
        """Open a data set."""
        from bcdseg.data.opening import open_dataset
        from bcdseg.data.tables.columns import parse_pairs

        columns, class_map = parse_pairs(self.columns or (), "--columns"), parse_pairs(self.class_map or (), "--class-map")
        problems: dict[str, Any] = {"on_problem": self.on_problem, "resize_masks": self.resize_masks}
        return open_dataset(path, self.layout, columns=columns, class_map=class_map, **problems)


def _warn_of_old_name(parameter: typer.CallbackParam, value: bool) -> bool:
    if value:
        from bcdseg.deprecation import deprecate

        deprecate(parameter.opts[0], RENAMED[parameter.opts[0]], since="0.2.0")
    return value


RENAMED = {"--unseen": "--exclude-training-samples", "--allow-seen": "--allow-training-samples"}
ExcludeTrainingSamples = Annotated[
    bool,
    in_data("--exclude-training-samples", help="Leave out scans that the model was trained on, copies of them and their groups."),
]
AllowTrainingSamples = Annotated[
    bool, in_data("--allow-training-samples", help="Evaluate on scans that the model was trained on; the report states it.")
]
Unseen = Annotated[bool, typer.Option("--unseen", hidden=True, callback=_warn_of_old_name)]
AllowSeen = Annotated[bool, typer.Option("--allow-seen", hidden=True, callback=_warn_of_old_name)]

EXAMPLES, OTHERS = "Examples:\n", "Options"


class Command(TyperCommand):
    """A command whose help lists options by their ``rich_help_panel``, and the docstring's ``Examples:`` one per line."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the docstring, with its examples unwrapped."""
        text, _, examples = (self.help or "").partition(EXAMPLES)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text.strip())
        if examples:
            formatter.write(f"\n{EXAMPLES}")
            for line in examples.strip().splitlines():
                formatter.write(f"  {line.strip()}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options in groups."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else OTHERS
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for title, records in sorted(groups.items(), key=lambda group: group[0] == OTHERS):
            with formatter.section(title):
                formatter.write_dl(records)

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002
        """Return the whole first sentence for the list of commands."""
        return (self.help or "").partition("\n")[0]
