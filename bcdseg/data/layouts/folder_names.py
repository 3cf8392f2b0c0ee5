"""Labels and groups that the names of folders imply, and a warning that names the folders which imply neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bcdseg.data.layouts.listing import MOST_CLASSES, USUAL_ORDER
from bcdseg.errors import DataWarning
from bcdseg.messages import name_some, warn_caller

FINER = re.compile(r"bi-?rads|grade|type|class", re.IGNORECASE)  # start of the names of finer classes
Names = list[str | None]
"""The label or the group of each file, None where it is unknown."""


def labels_and_groups(root: Path, folders: Sequence[Sequence[str]], *, any_number: bool = False) -> tuple[Names, Names]:
    """Return the label and the group of each file, and warn of folders that are neither.

    The label is the innermost folder, if there are at least two and not very many of them, or if they are usual classes: a single
    folder is only the location of the files, and very many folders are patients.

    If there are patients below folders of the usual classes (``benign/P01/1.png``), the class is the label and the patient is the
    group.

    Args:
        root: The data set's folder, for the warning.
        folders: Folders of each file below the data set's folder, without those of parts.
        any_number: Whether the innermost folders are labels however many they are.
    """
    classes = class_positions(folders)
    if classes is None:
        labels: Names = [inner[-1] if inner else None for inner in folders]
        groups: Names = [None] * len(labels)
        if not any_number and not _are_classes(labels):
            labels = [None] * len(labels)
        unused = [tuple(inner if label is None else inner[:-1]) for inner, label in zip(folders, labels, strict=True)]
    else:
        labels = [inner[at] for inner, at in zip(folders, classes, strict=True)]
        groups = [inner[at + 1] if at + 1 < len(inner) else None for inner, at in zip(folders, classes, strict=True)]
        groups = groups if len(set(groups) - {None}) > 1 else [None] * len(groups)
        unused = [tuple(inner[:at]) for inner, at in zip(folders, classes, strict=True)]
    _warn_of_unused(root, unused)
    return labels, groups


def class_positions(folders: Sequence[Sequence[str]]) -> list[int] | None:
    """Return the position of each file's class among its folders if all are in usual classes that contain folders, else None.

    The folders in the classes are patients, whose names have digits, or one of the same name in each class. Folders of other
    names may be classes of a finer kind: then the result is None.
    """
    classes = [_class_at(inner) for inner in folders]
    below = {inner[at + 1] for inner, at in zip(folders, classes, strict=True) if at is not None and at + 1 < len(inner)}
    known = [at for at in classes if at is not None]
    if not below or len(known) < len(classes):
        return None
    return known if len(below) == 1 or all(re.search(r"\d", name) and not FINER.match(name) for name in below) else None


def _class_at(folders: Sequence[str]) -> int | None:
    """Return the position of the innermost folder that is named as a usual class, or None."""
    return max((at for at, name in enumerate(folders) if name.lower() in USUAL_ORDER), default=None)


def _are_classes(labels: Names) -> bool:
    distinct = {label for label in labels if label is not None}
    return 2 <= len(distinct) <= MOST_CLASSES or {label.lower() for label in distinct} <= set(USUAL_ORDER)


def _warn_of_unused(root: Path, unused: Sequence[tuple[str, ...]]) -> None:
    """Warn of folders that are neither labels nor groups; one that contains all files is only their location."""
    distinct = sorted(set(unused))
    if len(distinct) > 1:
        named = name_some(["/".join(folders) for folders in distinct if folders])
        warn_caller(
            f"{root}: folders that aren't used, neither as labels nor as groups: {named}. If they are patients or classes, open a "
            "table with the columns 'group' and 'label': Dataset.to_csv writes one to edit.",
            DataWarning,
        )
