"""Options that several commands have in common, and help that lists options in groups and examples line by line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

DATA, MODEL, OUTPUT, HARDWARE, RESULTS = "Data", "Model", "Output", "Hardware", "Results"
"""Groups of options."""

MODEL_HELP = "A bundled model, a model folder, or hf://owner/name."

DataSet = Annotated[Path, typer.Argument(metavar="DATA", help="A data set: a folder or a table.", show_default=False)]
Layout = Annotated[
    str, typer.Option("--layout", metavar="NAME", help="How the data set is laid out; auto recognises it.", rich_help_panel=DATA)
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Columns of a table: image=file,label=finding,group=patient_nr. Common names are recognised.",
        rich_help_panel=DATA,
    ),
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option(
        "--class-map",
        metavar="LABEL=CLASS,...",
        help="Classes by label: Cancer=malignant,Cyst=benign. LABEL= leaves scans out.",
        rich_help_panel=DATA,
    ),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
ModelName = Annotated[str, typer.Option("--model", metavar="NAME", help=MODEL_HELP, rich_help_panel=MODEL)]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.", rich_help_panel=HARDWARE)]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the results.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.", rich_help_panel=OUTPUT)]
Draws = Annotated[
    int,
    typer.Option("--draws", min=0, metavar="N", help="Bootstrap draws; 0 leaves the intervals out.", rich_help_panel=RESULTS),
]
Sensitivities = Annotated[
    list[float] | None,
    typer.Option("--sensitivity", metavar="FRACTION", help="A sensitivity to reach; may be repeated.", rich_help_panel=RESULTS),
]
Specificities = Annotated[
    list[float] | None,
    typer.Option("--specificity", metavar="FRACTION", help="A specificity to reach; may be repeated.", rich_help_panel=RESULTS),
]


@dataclass(frozen=True)
class DataOptions:
    """Options for opening a data set."""

    layout: str = "auto"
    columns: list[str] | None = None
    class_map: list[str] | None = None

    def open(self, path: Path) -> Dataset:
        """Open a data set."""
        from bcdseg.data.opening import open_dataset
        from bcdseg.data.tables.columns import parse_pairs

        columns, class_map = parse_pairs(self.columns or (), "--columns"), parse_pairs(self.class_map or (), "--class-map")
        return open_dataset(path, self.layout, columns=columns, class_map=class_map)


def _warn_of_old_name(parameter: typer.CallbackParam, value: bool) -> bool:
    if value:
        from bcdseg.deprecation import deprecate

        deprecate(parameter.opts[0], RENAMED[parameter.opts[0]], since="0.2.0")
    return value


RENAMED = {"--unseen": "--exclude-training-samples", "--allow-seen": "--allow-training-samples"}
ExcludeTrainingSamples = Annotated[
    bool,
    typer.Option(
        "--exclude-training-samples",
        help="Leave out scans that the model was trained on, copies of them and their groups.",
        rich_help_panel=DATA,
    ),
]
AllowTrainingSamples = Annotated[
    bool,
    typer.Option(
        "--allow-training-samples",
        help="Evaluate on scans that the model was trained on; the report states it.",
        rich_help_panel=DATA,
    ),
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
