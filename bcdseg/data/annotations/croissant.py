"""Croissant metadata of a data set and its split: ``croissant.json`` and the table of samples that it describes.

The format is that of https://docs.mlcommons.org/croissant, version 1.0.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.data.annotations.outlines import PARTS, json_file, with_parts, write_all
from bcdseg.data.layouts.table import table_of
from bcdseg.errors import OptionError
from bcdseg.table_text import csv_text

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset

TABLE, FILE = "samples.csv", "croissant.json"
HASH = "sha256"
PROPERTIES = ("description", "license", "url", "citeAs", "datePublished", "version", "creator", "keywords")
URLS = dict(zip(PARTS, ("cr:TrainingSplit", "cr:ValidationSplit", "cr:TestSplit"), strict=True))
DESCRIPTIONS = {
    "id": "Name of the sample.",
    "image": "Path of the image from the folder of this file.",
    "mask": "Paths of the masks or annotation files from the folder of this file, separated by semicolons.",
    "label": "Class of the scan.",
    "group": "Group, such as a patient, that is never divided by a split.",
    "split": "Part of the split.",
    "spacing": "Millimetres per pixel, down and across, separated by a semicolon.",
    HASH: "SHA-256 of the image file.",
}
TERMS = [
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
]
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}


def write(
    dataset: Dataset, folder: Path, *, split: Iterable[Dataset] | None, about: Mapping[str, str | None], overwrite: bool
) -> list[Path]:
    """Write the metadata of a data set; see ``Dataset.to_croissant``."""
    unknown = [name for name in about if name not in PROPERTIES]
    if unknown:
        raise OptionError(f"{unknown[0]} is not a property of Croissant metadata. Known: {', '.join(PROPERTIES)}.")
    dataset = with_parts(dataset, split)
    columns, rows = _table(dataset, folder)
    table = csv_text(columns, rows).encode()
    has_parts = "split" in columns
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": dataset.name,
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **{name: value for name, value in about.items() if value is not None},
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "contentUrl": TABLE,
                "encodingFormat": "text/csv",
                "sha256": sha256(table).hexdigest(),
            }
        ],
        "recordSet": [*[_splits()] * has_parts, _record_set("samples", [_column(name) for name in columns])],
    }
    files: Iterator[tuple[str, bytes]] = iter([(TABLE, table), (FILE, json_file(content))])
    return write_all(folder, [TABLE, FILE], files, overwrite=overwrite)


def _table(dataset: Dataset, folder: Path) -> tuple[list[str], list[list[Any]]]:
    """Return the columns of the samples that have a value, and the rows."""

    def relative(path: Path) -> str:
        try:
            return Path(os.path.relpath(path, folder)).as_posix()
        except ValueError:  # the file is on another drive
            return path.absolute().as_posix()

    header, rows = table_of(dataset.samples, relative)
    full = [[*row, sha256(sample.image.read_bytes()).hexdigest()] for row, sample in zip(rows, dataset, strict=True)]
    names = [*header, HASH]
    used = [at for at in range(len(names)) if any(row[at] is not None for row in full)]
    return [names[at] for at in used], [[row[at] for at in used] for row in full]


def _record_set(name: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": list(fields)}


def _column(name: str) -> dict[str, Any]:
    field = {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": DESCRIPTIONS.get(name, "A fact about the scan, the patient or the machine."),
        "dataType": "sc:Text",
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
    }
    return {**field, "references": {"field": {"@id": "splits/name"}}} if name == "split" else field


def _splits() -> dict[str, Any]:
    fields = [
        {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": kind}
        for name, kind in (("name", "sc:Text"), ("url", "sc:URL"))
    ]
    data = [{"splits/name": part, "splits/url": url} for part, url in URLS.items()]
    return {**_record_set("splits", fields), "dataType": "cr:Split", "key": {"@id": "splits/name"}, "data": data}
