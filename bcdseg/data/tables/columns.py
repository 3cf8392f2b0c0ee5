"""Columns of tables: which one names the image, which the label, and which are facts about a scan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bcdseg.errors import DatasetError, OptionError

FIELDS: dict[str, tuple[str, ...]] = {
    "id": ("id", "sample id", "image id", "scan id"),
    "image": (
        *("image", "images", "image path", "image file", "image filename", "image name", "img", "img path", "scan path"),
        *("file", "files", "file name", "file path", "path", "picture"),
    ),
    "mask": (
        *("mask", "masks", "mask path", "mask file", "mask filename", "mask name", "segmentation", "segmentation path", "seg"),
        *("annotation path", "gt", "ground truth"),
    ),
    "label": ("label", "labels", "class", "class name", "diagnosis", "pathology", "classification", "category"),
    "group": ("patient", "patient id", "patient number", "subject", "subject id", "group", "case", "case id"),
    "split": ("split", "part", "subset", "partition"),
    "spacing": ("spacing", "pixel spacing", "spacing mm", "mm per pixel"),
}
"""Fields of a sample by the names of their columns, compared without case, spaces and punctuation."""

FACTS: dict[str, tuple[str, ...]] = {
    "age": ("age", "patient age", "age years", "age at exam"),
    "birads": ("birads", "birads category", "birads score", "birads assessment"),
    "calcifications": ("calcifications", "calcification"),
    "dataset": ("dataset",),
    "density": ("density", "breast density", "acr density"),
    "device": ("device", "machine", "scanner", "ultrasound device", "ultrasound machine", "us device", "equipment"),
    "doppler": ("doppler",),
    "echogenicity": ("echogenicity", "echo pattern"),
    "er": ("er", "er status"),
    "grade": ("grade", "tumor grade", "tumour grade"),
    "halo": ("halo",),
    "her2": ("her2", "her2 status"),
    "histology": ("histology", "histopathology", "histological type", "histologic type", "histology type", "tumor type"),
    "hospital": ("hospital", "center", "centre", "institution", "clinic", "site"),
    "ki67": ("ki67",),
    "manufacturer": ("manufacturer", "vendor"),
    "margin": ("margin", "margins"),
    "marks": ("marks",),
    "menopause": ("menopause", "menopausal status"),
    "model": ("model", "device model", "manufacturer model name", "scanner model"),
    "orientation": ("orientation",),
    "posterior_features": ("posterior features",),
    "pr": ("pr", "pr status"),
    "sex": ("sex", "gender"),
    "shape": ("shape",),
    "side": ("side", "laterality", "breast side"),
    "signs": ("signs",),
    "skin_thickening": ("skin thickening",),
    "subtype": ("subtype", "molecular subtype"),
    "symptoms": ("symptoms",),
    "tissue_composition": ("tissue composition",),
    "transducer": ("transducer", "probe", "transducer type"),
    "verification": ("verification",),
    "view": ("view", "projection"),
}
"""Facts by the names of their columns. A column ``fact:NAME`` is a fact of any other name."""

OWN_FACT = "fact:"


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they contain.

    Attributes:
        fields: Column of each field of a sample that the table has.
        facts: Column of each fact that the table has.
        unused: Columns that are neither.
    """

    fields: Mapping[str, str]
    facts: Mapping[str, str]
    unused: tuple[str, ...]


def match_columns(names: Sequence[str], mapping: Mapping[str, str | None], table: str) -> Columns:
    """Find the columns of the fields and facts, by the caller's mapping and else by their names.

    Args:
        names: The columns of the table.
        mapping: Columns by field or fact; None leaves a field out.
        table: Name of the table in errors.

    Raises:
        OptionError: The mapping names an unknown field.
        DatasetError: The mapping names a column that the table lacks, or two columns could be the same field.
    """
    for field in mapping:
        if not (field in FIELDS or field in FACTS or field.startswith(OWN_FACT)):
            raise OptionError(
                f"columns: {field!r} is neither a field nor a fact. Fields are {', '.join(FIELDS)}; facts are {', '.join(FACTS)}, "
                f"and {OWN_FACT}NAME for one of your own."
            )
    chosen = {field: _named(names, column, table) for field, column in mapping.items() if column is not None}
    free = [name for name in names if name not in chosen.values()]
    fields = {field: chosen[field] for field in FIELDS if field in chosen}
    for field in FIELDS:
        if field not in mapping and (column := _field_column(field, free, table)):
            fields[field] = column
    facts = {field.removeprefix(OWN_FACT): column for field, column in chosen.items() if field not in FIELDS}
    for name in free:
        fact = _fact(name)
        if fact and name not in fields.values() and fact not in facts and fact not in mapping:
            facts[fact] = name
    used = {*fields.values(), *facts.values()}
    return Columns(fields, facts, tuple(name for name in names if name not in used))


def has_image_column(names: Sequence[str]) -> bool:
    """Return whether one of the columns is named as a column of image files."""
    return bool(_matching("image", names))


def describe(names: Sequence[str], columns: Columns) -> str:
    """Return the columns with what each is read as, for messages."""
    purpose = {column: field for field, column in (*columns.fields.items(), *columns.facts.items())}
    return ", ".join(f"{name!r} ({purpose.get(name, 'not used')})" for name in names) or "none"


def parse_pairs(texts: Iterable[str], option: str) -> dict[str, str | None]:
    """Return the mapping of texts such as ``image=file,label=diagnosis``; an empty right side is None."""
    pairs = [pair.strip() for text in texts for pair in text.split(",") if pair.strip()]
    mapping: dict[str, str | None] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals):
            raise OptionError(f"{option} {pair!r}: write NAME=VALUE, several with commas between.")
        if key in mapping:
            raise OptionError(f"{option}: {key!r} is given more than once.")
        mapping[key] = value or None
    return mapping


def _named(names: Sequence[str], column: str, table: str) -> str:
    alike = [name for name in names if name == column] or [name for name in names if _plain(name) == _plain(column)]
    if len(alike) != 1:
        raise DatasetError(f"{table}: has no column {column!r}. Its columns: {', '.join(map(repr, names)) or 'none'}.")
    return alike[0]


def _field_column(field: str, names: Sequence[str], table: str) -> str | None:
    """Return the column of a field. Of several, the one with the field's own name is taken; of groups, the patient."""
    found = _matching(field, names)
    if len(found) > 1 and field != "group" and _plain(found[0]) != field:
        raise DatasetError(
            f"{table}: {' and '.join(map(repr, found))} could each be the {field}. Choose one: columns={{{field!r}: {found[0]!r}}}."
        )
    return found[0] if found else None


def _matching(field: str, names: Sequence[str]) -> list[str]:
    synonyms = [_plain(synonym) for synonym in FIELDS[field]]
    return sorted((name for name in names if _plain(name) in synonyms), key=lambda name: synonyms.index(_plain(name)))


def _fact(name: str) -> str | None:
    if name.lower().startswith(OWN_FACT):
        return name[len(OWN_FACT) :].strip() or None
    return next((fact for fact, synonyms in FACTS.items() if _plain(name) in map(_plain, synonyms)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
