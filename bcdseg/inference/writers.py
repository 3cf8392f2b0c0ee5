"""Predictions as files: JSON, masks, overlays, tables."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bcdseg.errors import OptionError
from bcdseg.files import LONGEST, check_free, fit_name, write_whole
from bcdseg.messages import as_plain
from bcdseg.table_text import csv_text
from bcdseg.types import Failure

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.inference.predictor import Result

NOT_UNICODE = "backslashreplace"  # a file name may contain bytes that are not valid text
LONGEST_STEM = LONGEST - len("_frame99999_heatmap.png")
LESION_COLUMNS = ("long_axis_px", "short_axis_px", "long_axis_mm", "short_axis_mm")
SIZE_COLUMNS = ("area_mm2", *LESION_COLUMNS)
DESCRIPTOR_COLUMNS = ("shape", "orientation", "margin", "echo_pattern", "posterior")


def output_names(sources: Sequence[Path], folder: Path | None = None) -> dict[str, str]:
    """Return a name below the output folder for each source; files with the same stem keep their suffixes.

    Args:
        sources: Paths of the scans.
        folder: Folder from which their paths are counted; by default the deepest that contains all of them.
    """
    common = folder or common_folder(sources)
    below = {str(source): _without_mark(_absolute(source).relative_to(common)) for source in sources}
    stems = Counter(path.with_suffix("") for path in below.values())
    names: dict[str, str] = {}
    used: set[str] = set()
    for source, path in below.items():
        name = fit_path((path if stems[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix())
        while name in used:
            name = fit_path(name + "_")
        used.add(name)
        names[source] = name
    return names


def fit_path(name: str) -> str:
    """Return a name below the output folder, shortened with a hash where its file names would be too long."""
    *folders, stem = name.split("/")
    return "/".join([*map(fit_name, folders), fit_name(stem, LONGEST_STEM)])


def common_folder(sources: Sequence[Path]) -> Path:
    """Return the deepest folder that contains all sources."""
    return Path(os.path.commonpath([_absolute(source).parent for source in sources]))


def _absolute(path: Path) -> Path:
    """Return an absolute path without ``..``, so that no name leads out of the output folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ..


def _without_mark(path: Path) -> Path:
    """Return ``clip.dcm#12`` as ``clip_frame12.dcm``, so that the files of each frame have their own name."""
    file, mark, number = path.name.rpartition("#")
    if not (mark and number.isdecimal() and file):
        return path
    named = path.with_name(file)
    return named.with_name(f"{named.stem}_frame{number}{named.suffix}")


def pictures_of(prediction: Prediction, name: str, *, masks: bool = True, overlay: bool) -> dict[str, bytes]:
    """Return file names and contents of mask, overlay and heat map, as far as they are requested and available."""
    mask = prediction.mask if masks else None
    pictures = {} if mask is None else {f"{name}_mask.png": png_bytes(Image.fromarray(mask))}
    if overlay:
        pictures[f"{name}_overlay.png"] = png_bytes(prediction.overlay())
    if overlay and prediction.heatmap is not None:
        pictures[f"{name}_heatmap.png"] = png_bytes(prediction.heat_overlay())
    return pictures


def save_prediction(prediction: Prediction, folder: Path, *, name: str | None, overlay: bool, overwrite: bool) -> list[Path]:
    """Write a prediction to a folder; see ``Prediction.save``."""
    stem = name or fit_name(_without_mark(Path(prediction.source)).stem, LONGEST_STEM)
    if Path(stem).name != stem:
        raise OptionError(f"name={stem!r}: give a file name without folders; the folder is an argument of its own.")
    contents = {folder / f"{stem}.json": json_bytes(prediction.to_dict())}
    contents |= {folder / name: content for name, content in pictures_of(prediction, stem, overlay=overlay).items()}
    check_free(contents, overwrite=overwrite)
    return [write_whole(path, content, overwrite=overwrite) for path, content in contents.items()]


def json_bytes(value: Any) -> bytes:
    """Return a value as the content of an indented JSON file."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n").encode("utf-8", NOT_UNICODE)


def _plain(value: Any) -> Any:
    """Return a number of numpy, such as an option of the caller, in a type of JSON."""
    if not isinstance(value, np.generic):
        raise TypeError(f"{type(value).__name__} is not a type of JSON")
    return as_plain(value)


def png_bytes(image: Image.Image) -> bytes:
    """Return a PIL image as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def table_rows(results: Iterable[Result], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per scan: class, probabilities, largest lesion and warnings, or the error."""
    return [_failure_row(result) if isinstance(result, Failure) else _row(result, classes) for result in results]


def csv_bytes(rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> bytes:
    """Return the rows of ``table_rows`` as the content of a CSV file, with two decimals for sizes."""
    columns = columns_of(classes)
    return csv_text(columns, ([table_cell(name, row.get(name, "")) for name in columns] for row in rows)).encode(
        "utf-8", NOT_UNICODE
    )


def table_cell(name: str, value: Any) -> Any:
    """Return a cell of a CSV or Parquet table; sizes are rounded here only, so that no other output rounds them a second time."""
    return round(value, 2) if name in SIZE_COLUMNS and value != "" else value


def columns_of(classes: Sequence[str]) -> list[str]:
    """Return the column names of a table."""
    known = ["label_set", "ood_score", "spread"]
    known += ["lesions", "candidates", "area_px", "area_mm2", *LESION_COLUMNS, *DESCRIPTOR_COLUMNS]
    known += ["spacing_from", "flags", "error"]
    return ["source", "label", *(f"probability_{name}" for name in classes), *known]


def _row(prediction: Prediction, classes: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"source": prediction.source, "label": prediction.label or ""}
    row |= {f"probability_{name}": round(prediction.probabilities[name], 4) for name in classes}
    if prediction.label_set is not None:
        row["label_set"] = " ".join(prediction.label_set)
    if prediction.ood_score is not None:
        row["ood_score"] = round(prediction.ood_score, 4)
    if prediction.spread is not None and prediction.label is not None:
        row["spread"] = round(prediction.spread[prediction.label], 4)
    row["flags"] = " ".join(flag.code for flag in prediction.flags)
    if prediction.mask is None:
        return row
    row |= {"lesions": len(prediction.lesions), "candidates": len(prediction.candidates)}
    row["area_px"] = sum(lesion.area_px for lesion in prediction.lesions)
    if prediction.spacing is not None:
        row["spacing_from"] = prediction.spacing_from or ""
        row["area_mm2"] = sum((lesion.area_mm2 or 0.0 for lesion in prediction.lesions), 0.0)
    if prediction.lesions:
        largest = prediction.lesions[0]
        row |= {name: value for name in LESION_COLUMNS if (value := getattr(largest, name)) is not None}
        row |= {name: value for name in DESCRIPTOR_COLUMNS if (value := getattr(largest.descriptors, name)) is not None}
    return row


def _failure_row(failure: Failure) -> dict[str, Any]:
    return {"source": failure.source, "error": str(failure.error)}
