"""Predictions as annotations: COCO, LabelMe, and polygons in JSON (GeoJSON).

The files can be opened in an annotation tool, corrected, and opened again with ``bcdseg.open_dataset``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bcdseg.data.annotations import coco, labelme
from bcdseg.data.annotations.outlines import LESION, Outline, OutlinedScan, json_file, png_file, write_all
from bcdseg.data.annotations.polygons import Polygon, components, to_corners
from bcdseg.data.images import SUFFIXES
from bcdseg.errors import OptionError
from bcdseg.inference.clips import without_maps
from bcdseg.inference.writers import output_names

if TYPE_CHECKING:
    from bcdseg.inference.lesions import Lesion
    from bcdseg.inference.prediction import Prediction
    from bcdseg.types import Box, Spacing

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

    A scan that annotation tools can't open, such as DICOM, is written as a PNG file too. Predictions with the same source, such as
    arrays of one shape, get files with a number.

    Args:
        predictions: Prediction for one scan, or several.
        folder: Folder to write.
        format: ``"coco"`` for ``annotations.json`` with polygons; ``"labelme"`` for ``NAME.json`` of each scan; ``"geojson"``
            for ``NAME.geojson`` of each scan.
        tolerance: Largest deviation of simplified polygons, in pixels; with 0 they have exactly the mask's pixels.
        overwrite: Whether existing files may be replaced.

    Returns:
        Paths of the written files.

    Raises:
        OptionError: The format is unknown, or a prediction has no mask.

    Example:
        >>> bcdseg.save_annotations(model.predict("scans/"), "outlines", format="labelme")
    """
    check_format(format)
    made = [_kept(one) for one in _each(predictions)]
    sources = _numbered([one.prediction.source for one in made])
    by_source = output_names([Path(source) for source in sources])
    names = [by_source[source] for source in sources]
    pictures = {f"{name}.png": one.picture for one, name in zip(made, names, strict=True) if one.picture is not None}
    files = [COCO_FILE] if format == "coco" else [name + ENDINGS[format] for name in names]

    def contents() -> Iterator[tuple[str, bytes]]:
        yield from pictures.items()
        pairs = zip(made, names, strict=True)
        values = [annotation(one.prediction, format, name, Path(folder), tolerance) for one, name in pairs]
        yield from zip(files, [coco_file(values)] if format == "coco" else map(json_file, values), strict=True)

    return write_all(Path(folder), [*pictures, *files], contents(), overwrite=overwrite)


class _Kept(NamedTuple):
    """A prediction without its image and probabilities, so that many fit in memory.

    The picture is the content of a PNG file, where annotation tools can't open the scan.
    """

    prediction: Prediction
    picture: bytes | None


def _kept(prediction: Prediction) -> _Kept:
    return _Kept(without_maps(prediction), None if _is_readable(prediction) else png_file(prediction.image))


def _numbered(sources: Sequence[str]) -> list[str]:
    """Return the sources with a number at each repeated one: arrays of one shape have the same source."""
    last, numbered = Counter[str](), dict[str, None]()
    for source in sources:
        path = Path(source)
        name = str(path)
        while name in numbered:
            last[source] += 1
            name = str(path.with_name(f"{path.stem}_{last[source] + 1}{path.suffix}"))
        numbered[name] = None
    return list(numbered)


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
    return (
        () if prediction.mask is None else tuple(polygon for outline, _ in _outlines(prediction) for polygon in outline.polygons(0))
    )


def annotation(prediction: Prediction, format: str, name: str, folder: Path, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Return the annotation of one scan: the content of its file, or for COCO its entry for ``coco.document``.

    Args:
        prediction: The prediction.
        format: ``"coco"``, ``"labelme"`` or ``"geojson"``.
        name: Name of the scan's files below the folder, without an ending.
        folder: Folder of the file.
        tolerance: Largest deviation of simplified polygons, in pixels.

    Raises:
        OptionError: The prediction has no mask.
    """
    if prediction.mask is None:
        raise OptionError(f"{prediction.source}: has no mask, its model only classifies, so that there are no outlines to write.")
    path = _image_path(prediction, name, folder)
    if format == "geojson":
        return _geojson(prediction, tolerance)
    if format == "labelme":
        relative = Path(os.path.relpath(folder / path, (folder / name).parent)).as_posix()
        return labelme.document(_scan(prediction, path), relative, tolerance)
    entry = coco.entry_of(_scan(prediction, name + Path(path).suffix), "polygons", tolerance)
    return {**entry, "image": {**entry["image"], "path": path}}


def annotation_files(prediction: Prediction, format: str, name: str, folder: Path) -> dict[str, bytes]:
    """Return the names and contents of the files of one scan: its annotation, which COCO has in one file of all, and its image."""
    files = {} if _is_readable(prediction) else {f"{name}.png": png_file(prediction.image)}
    if format != "coco":
        files[name + ENDINGS[format]] = json_file(annotation(prediction, format, name, folder))
    return files


def _is_readable(prediction: Prediction) -> bool:
    """Return whether annotation tools can open the scan itself."""
    source = Path(prediction.source)
    return source.suffix.lower() in SUFFIXES and os.path.isfile(source)  # noqa: PTH113 - Path.is_file raises for impossible names


def _image_path(prediction: Prediction, name: str, folder: Path) -> str:
    """Return the path of the scan's image from the folder."""
    if not _is_readable(prediction):
        return f"{name}.png"
    source = Path(prediction.source)
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # the file is on another drive
        return source.absolute().as_posix()


def _each(predictions: Prediction | Iterable[Prediction]) -> Iterator[Prediction]:
    yield from predictions if isinstance(predictions, Iterable) else [predictions]


def _scan(prediction: Prediction, name: str) -> OutlinedScan:
    keys: dict[str, Any] = {} if prediction.label is None else {"label": prediction.label}
    if (spacing := single_spacing(prediction)) is not None:
        keys["spacing"] = list(spacing)
    return OutlinedScan(name, prediction.size, tuple(outline for outline, _ in _outlines(prediction)), keys)


def single_spacing(prediction: Prediction) -> Spacing | None:
    """Return the spacing of the whole scan; None where its regions differ, because that of one is wrong in another."""
    return prediction.spacing if len({area.spacing for area in prediction.areas}) < 2 else None


def _outlines(prediction: Prediction) -> Iterator[tuple[Outline, Lesion | None]]:
    """Yield the outline of each lesion, in the order of ``prediction.lesions``.

    Where lesions of two scan regions touch, the mask has fewer outlines than lesions; they then have no lesions.
    """
    assert prediction.mask is not None
    regions = {
        (rows.start, columns.start, rows.stop, columns.stop): (region, (rows, columns))
        for (rows, columns), region in components(prediction.mask)
    }  # no two connected regions have the same box
    lesions: dict[Box, Lesion] = {lesion.box: lesion for lesion in prediction.lesions}
    are_apart = sorted(one.box for one in prediction.lesions) == sorted(regions)
    label = prediction.label or LESION
    for box in lesions if are_apart else regions:
        region, window = regions[box]
        lesion = lesions[box] if are_apart else None
        score = None if lesion is None else round(lesion.probability, 4)
        yield Outline(label, region, score, window, prediction.size), lesion


def _geojson(prediction: Prediction, tolerance: float) -> dict[str, Any]:
    """Return a collection of polygons with holes; coordinates are x and y in pixels from the upper left corner of the scan."""
    features: list[Mapping[str, Any]] = []
    for outline, lesion in _outlines(prediction):
        (polygon,) = outline.polygons(tolerance)
        rings = [_closed(to_corners(ring)) for ring in (polygon.outer, *polygon.holes)]
        properties: dict[str, Any] = {"label": prediction.label}
        if lesion is not None:
            properties |= {"probability": round(lesion.probability, 4), "area_px": lesion.area_px}
        features.append({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": properties})
    height, width = prediction.size
    about = {"source": prediction.source, "height": height, "width": width, "label": prediction.label}
    return {"type": "FeatureCollection", "features": features, **about, "probabilities": dict(prediction.probabilities)}


def _closed(ring: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [list(point) for point in (*ring, ring[0])]
