"""Properties that annotation formats lack: label, group, part and spacing of an image, under keys of this library.

COCO and LabelMe have them in their own files, where other programs ignore them. YOLO and nnU-Net have them in a file of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bcdseg.data.annotations.samples import load_json
from bcdseg.data.layouts.listing import PARTS
from bcdseg.errors import DatasetError
from bcdseg.types import Sample

CASES = "bcdseg_cases.json"


def own_keys(sample: Sample) -> dict[str, Any]:
    """Return the keys of a sample, without those that are unknown."""
    spacing = None if sample.spacing is None else list(sample.spacing)
    values = {
        "label": sample.label,
        "group": sample.group,
        "split": sample.part,
        "spacing": spacing,
        "facts": dict(sample.facts) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def known_values(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the keys that are known, by the names of a sample's attributes."""
    spacing = keys.get("spacing")
    values: dict[str, Any] = {name: str(keys[name]) for name in ("label", "group") if keys.get(name) is not None}
    if str(keys.get("split")).lower() in PARTS:
        values["part"] = PARTS[str(keys["split"]).lower()]
    if isinstance(spacing, list) and len(spacing) == 2 and all(isinstance(value, (int, float)) and value > 0 for value in spacing):
        values["spacing"] = float(spacing[0]), float(spacing[1])
    if isinstance(keys.get("facts"), dict):
        values["facts"] = {str(name): fact for name, fact in keys["facts"].items() if isinstance(fact, (str, int, float))}
    return values


def read_cases(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the keys of each image by its path below the folder; none where the file is missing.

    Raises:
        DatasetError: The file is damaged.
    """
    file = folder / CASES
    if not file.is_file():
        return {}
    content = load_json(file)
    if not isinstance(content, dict) or not all(isinstance(keys, dict) for keys in content.values()):
        raise DatasetError(f"{file}: is not a mapping from images to their keys. Write the data set again, or remove the file.")
    return content


def cases_file(samples: Mapping[str, Sample]) -> bytes:
    """Return the content of the file with the keys of each image."""
    return json.dumps({name: own_keys(sample) for name, sample in samples.items()}, indent=1, ensure_ascii=False).encode()
