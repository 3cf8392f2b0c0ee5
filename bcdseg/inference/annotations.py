"""Predictions as annotations: COCO, LabelMe, and polygons in JSON (GeoJSON).

The files can be opened in an annotation tool, corrected, and opened again with ``bcdseg.open_dataset``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.data.annotations import coco, labelme
from bcdseg.data.annotations.outlines import LESION, Outline, OutlinedScan, json_file, png_file, write_all
from bcdseg.data.annotations.polygons import Polygon, components, to_corners, trace
from bcdseg.data.images import SUFFIXES
from bcdseg.errors import OptionError
from bcdseg.inference.writers import output_names

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction

FORMATS = ("coco", "labelme", "geojson")
COCO_FILE = "annotations.json"
ENDINGS = {"labelme": ".json", "geojson": ".geojson"}
TOLERANCE = 0.5  # pixels: fewer points to correct by hand


def save_annotations(
    predictions: Prediction | Iterable[Prediction],
    folder: str | Path,
    *,
    format: str = "coco",
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
) -> list[Path]:
    """Write outlines as annotations.

    A scan that annotation tools can't open, such as DICOM, is written as a PNG file too.

    Args:
        predictions: Prediction for one scan, or several.
        folder: Folder to write.
        format: ``"coco"`` for ``annotations.json`` with polygons; ``"labelme"`` for ``NAME.json`` of each scan; ``"geojson"``
            for ``NAME.geojson`` of each scan.
        tolerance: Greatest distance in pixels by which polygons may be simplified; with 0 they have exactly the mask's pixels.
        overwrite: Whether existing files may be replaced.

    Returns:
        Paths of the written files.

    Raises:
        OptionError: The format is unknown, or a prediction has no mask.

    Example:
        >>> bcdseg.save_annotations(model.predict("scans/"), "outlines", format="labelme")
    """
    check_format(format)
    made = list(_each(predictions))
    names = output_names([Path(one.source) for one in made])
    images = {one.source: image_of(one, names[one.source], Path(folder)) for one in made}
    pictures = [path for path, content in images.values() if content is not None]
    files = [COCO_FILE] if format == "coco" else [names[one.source] + ENDINGS[format] for one in made]

    def contents() -> Iterator[tuple[str, bytes]]:
        yield from ((path, content) for path, content in images.values() if content is not None)
        values = [annotation(one, format, names[one.source], Path(folder), tolerance) for one in made]
        yield from zip(files, [coco_file(values)] if format == "coco" else map(json_file, values), strict=True)

    return write_all(Path(folder), [*pictures, *files], contents(), overwrite=overwrite)


def check_format(format: str) -> None:
    """Raise an error that lists the formats if a format is unknown."""
    if format not in FORMATS:
        raise OptionError(f"format={format!r}: choose one of {', '.join(map(repr, FORMATS))}.")


def annotation_endings(format: str | None) -> list[str]:
    """Return the endings of the annotation files of each scan."""
    return [ENDINGS[format]] if format in ENDINGS else []


def coco_file(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the content of a COCO file with the entries of all scans."""
    return json_file(coco.document(entries))


def polygons_of(prediction: Prediction) -> tuple[Polygon, ...]:
    """Return the polygon of each lesion, in the order of ``prediction.lesions``."""
    return () if prediction.mask is None else trace(prediction.mask)


def annotation(prediction: Prediction, format: str, name: str, folder: Path, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Return the annotation of one scan: the content of its file, or for COCO its entry for ``coco.document``.

    Args:
        prediction: The prediction.
        format: ``"coco"``, ``"labelme"`` or ``"geojson"``.
        name: Name of the scan's files below the folder, without an ending.
        folder: Folder of the file.
        tolerance: Greatest distance in pixels by which polygons may be simplified.

    Raises:
        OptionError: The prediction has no mask.
    """
    if prediction.mask is None:
        raise OptionError(f"{prediction.source}: has no mask, its model only classifies, so that there are no outlines to write.")
    path, _ = image_of(prediction, name, folder)
    if format == "geojson":
        return _geojson(prediction, tolerance)
    if format == "labelme":
        beside = Path(os.path.relpath(folder / path, (folder / name).parent)).as_posix()
        return labelme.document(_scan(prediction, path), beside, tolerance)
    entry = coco.entry_of(_scan(prediction, name + Path(path).suffix), "polygons", tolerance)
    return {**entry, "image": {**entry["image"], "path": path}}


def annotation_files(prediction: Prediction, format: str, name: str, folder: Path) -> dict[str, bytes]:
    """Return the names and contents of the files of one scan: its annotation, which COCO has in one file of all, and its image."""
    path, content = image_of(prediction, name, folder)
    files = {} if content is None else {path: content}
    if format != "coco":
        files[name + ENDINGS[format]] = json_file(annotation(prediction, format, name, folder))
    return files


def image_of(prediction: Prediction, name: str, folder: Path) -> tuple[str, bytes | None]:
    """Return the path of the scan's image from the folder, and the content of a PNG file where tools can't open the scan."""
    source = Path(prediction.source)
    if source.suffix.lower() in SUFFIXES and os.path.isfile(source):  # noqa: PTH113 - Path.is_file raises for impossible names
        try:
            return Path(os.path.relpath(source, folder)).as_posix(), None
        except ValueError:  # the file is on another drive
            return source.absolute().as_posix(), None
    return f"{name}.png", png_file(prediction.image)


def _each(predictions: Prediction | Iterable[Prediction]) -> Iterator[Prediction]:
    yield from predictions if isinstance(predictions, Iterable) else [predictions]


def _scan(prediction: Prediction, name: str) -> OutlinedScan:
    label = prediction.label or LESION
    keys: dict[str, Any] = {} if prediction.label is None else {"label": prediction.label}
    if prediction.spacing is not None:
        keys["spacing"] = list(prediction.spacing)
    return OutlinedScan(name, prediction.size, tuple(_outlines(prediction, label)), keys)


def _outlines(prediction: Prediction, label: str) -> Iterator[Outline]:
    assert prediction.mask is not None
    for (window, region), lesion in zip(components(prediction.mask), prediction.lesions, strict=True):
        mask = np.zeros(prediction.size, bool)
        mask[window] = region
        yield Outline(label, mask, round(lesion.probability, 4))


def _geojson(prediction: Prediction, tolerance: float) -> dict[str, Any]:
    """Return a collection of polygons with holes; coordinates are x and y in pixels from the upper left corner of the scan."""
    assert prediction.mask is not None
    features: list[Mapping[str, Any]] = []
    for polygon, lesion in zip(trace(prediction.mask, tolerance), prediction.lesions, strict=True):
        rings = [_closed(to_corners(ring)) for ring in (polygon.outer, *polygon.holes)]
        properties = {"label": prediction.label, "probability": round(lesion.probability, 4), "area_px": lesion.area_px}
        features.append({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": properties})
    height, width = prediction.size
    about = {"source": prediction.source, "height": height, "width": width, "label": prediction.label}
    return {"type": "FeatureCollection", "features": features, **about, "probabilities": dict(prediction.probabilities)}


def _closed(ring: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [list(point) for point in (*ring, ring[0])]
