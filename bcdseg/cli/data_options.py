"""Options of all commands that open a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

LAYOUT = "How the data set is laid out; by default that is recognised."
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Columns of a table: image=file,label=finding,group=patient_nr. Common names are recognised.",
    ),
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option(
        "--class-map", metavar="LABEL=CLASS,...", help="Classes by label: Cancer=malignant,Cyst=benign. LABEL= leaves scans out."
    ),
]


def open_data(
    path: Path | str, layout: str, columns: Sequence[str] | None = None, class_map: Sequence[str] | None = None
) -> Dataset:
    """Open a data set with the options of the command line."""
    from bcdseg.data.opening import open_dataset
    from bcdseg.data.tables.columns import parse_pairs

    return open_dataset(
        path, layout, columns=parse_pairs(columns or (), "--columns"), class_map=parse_pairs(class_map or (), "--class-map")
    )
