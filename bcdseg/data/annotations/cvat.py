"""CVAT's format "CVAT for images 1.1": one XML file with polygons, ellipses, masks and tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bcdseg.data.annotations.samples import AnnotatedImage, check_size, samples_of
from bcdseg.data.annotations.shapes import check_polygon, decode_cvat, ellipse, place
from bcdseg.data.layouts.listing import PARTS, FolderListing, Listing
from bcdseg.errors import DatasetError, InputError
from bcdseg.types import LesionMask

START = 4096  # bytes of a file that show its format
NO_AREA = ("polyline", "points", "skeleton", "cuboid", "attribute")


def recognise(listing: Listing) -> bool:
    """Return whether there is an XML file that starts with CVAT's element ``annotations``."""
    return bool(_files(listing))


def read(listing: Listing) -> FolderListing:
    """Read the images of all CVAT files. Lines and points are not lesions; a box is not an outline; a tag is an image's class."""
    files = _files(listing)
    if not files:
        raise DatasetError(f"{listing.root}: has no XML file of CVAT for images.")
    problems: list[str] = []
    images = []
    for file in files:
        root = _parsed(file)
        if root.find("track") is not None:
            raise DatasetError(f"{file}: contains tracks of a video. Export the task again as 'CVAT for images 1.1'.")
        for element in root.iter("image"):
            try:
                images.append(_image(element, file))
            except InputError as error:
                problems.append(f"{file}: image {element.get('name')}: {error}")
    return samples_of(images, listing, problems)


def _files(listing: Listing) -> list[Path]:
    paths = [listing.path(name) for name in listing.annotations if name.lower().endswith(".xml")]
    return [path for path in paths if _is_cvat(path)]


def _is_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotations>" in file.read(START)
    except OSError:
        return False


def _parsed(file: Path) -> Any:
    try:
        return ElementTree.fromstring(file.read_bytes())
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"{file}: is not valid XML ({error}). Export the annotations again.") from error


def _image(element: Any, file: Path) -> AnnotatedImage:
    tags = {tag.get("label") for tag in element.findall("tag")}
    image = AnnotatedImage(
        file=file,
        name=element.get("name") or "",
        size=check_size(_whole(element.get("height")), _whole(element.get("width")), "the image"),
        label=tags.pop() if len(tags) == 1 else None,
        part=PARTS.get((element.get("subset") or "").lower()),
    )
    for number, shape in enumerate((one for one in element if one.tag != "tag"), start=1):
        _add(shape, f"{shape.tag} {number}", image)
    return image


def _add(shape: Any, what: str, image: AnnotatedImage) -> None:
    label = shape.get("label") or ""
    if shape.tag == "box":
        image.boxes.append(label)
    elif shape.tag == "mask":
        height, width, top, left = (_whole(shape.get(name)) for name in ("height", "width", "top", "left"))
        size = check_size(height, width, what)
        if top is None or left is None:
            raise InputError(f"{what}: its position 'top' and 'left' is missing")
        try:
            pixels = decode_cvat(shape.get("rle") or "", size)
        except InputError as error:
            raise InputError(f"{what}: {error}") from None
        image.lesions.append(place(pixels, (top, left), image, label, what))
    elif shape.tag in ("polygon", "ellipse"):
        polygon = _ellipse(shape, what, image.size) if shape.tag == "ellipse" else _polygon(shape, what, image.size)
        image.lesions.append(LesionMask(file=image.file, size=image.size, label=label, polygons=(polygon,)))
    elif shape.tag not in NO_AREA:
        raise InputError(f"{what}: is an unknown shape")


def _polygon(shape: Any, what: str, size: tuple[int, int]) -> tuple[float, ...]:
    return check_polygon((value for point in (shape.get("points") or "").split(";") for value in point.split(",")), what, size)


def _ellipse(shape: Any, what: str, size: tuple[int, int]) -> tuple[float, ...]:
    try:
        x, y, across, down = (float(shape.get(name)) for name in ("cx", "cy", "rx", "ry"))
        degrees = float(shape.get("rotation") or 0)
    except (TypeError, ValueError):
        raise InputError(f"{what}: needs the numbers cx, cy, rx and ry") from None
    return check_polygon(ellipse((x, y), (across, down), degrees), what, size)


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None
