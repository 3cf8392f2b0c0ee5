"""Burned-in annotations: calipers, text, icons, coloured overlays.

They are detected by a property that tissue never has: strokes of one or two pixels, bright along their whole length, on a darker
background.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_fill_holes, find_objects, grey_dilation, label

from bcdseg.data.duplicates.neighbourhood import highest, lowest
from bcdseg.data.images import to_gray, to_uint8
from bcdseg.data_audit.findings import Box, Finding
from bcdseg.messages import percent
from bcdseg.types import Pixels

Gray = NDArray[np.uint8]

ARMS = (3, 5, 7)  # pixels from the centre of a cross to the end of its arms
MARGIN = ARMS[-1] + 4  # pixels around a scan that are compared, those at the opposite edge
LIT = 120  # gray level that an arm exceeds
BRIGHTER = 60  # least difference in gray levels between an arm and the corners next to it
STROKE = 75  # least difference in gray levels between a stroke and thicker structures
COLOURED = 45  # least difference in levels between the channels of an overlay's pixel
LETTERS = 3  # least number of letters in a row of text
FIELDS = 4  # most areas that the lines of an icon enclose; speckle encloses many more


def mark_findings(sample_id: str, pixels: Pixels) -> Iterator[Finding]:
    """Yield the burned-in annotations of one scan."""
    gray = to_uint8(to_gray(pixels))
    crosses = caliper_crosses(gray)
    if len(crosses) > 1:
        yield Finding("calipers", (sample_id,), f"{len(crosses)} crosses as of calipers.", _around(crosses), float(len(crosses)))
    strokes = _strokes(gray)
    lines = text_lines(strokes)
    if lines:
        several = f"{len(lines)} lines of text are" if len(lines) > 1 else "Text is"
        yield Finding("text", (sample_id,), f"{several} written into the picture.", _around(lines), float(len(lines)))
    icon = body_marker(strokes)
    if icon is not None:
        yield Finding("body marker", (sample_id,), "A drawing as of a body marker near the edge.", icon)
    overlay = colour_overlay(pixels)
    if overlay is not None:
        box, share = overlay
        yield Finding("coloured overlay", (sample_id,), f"{percent(share, 1)} of the scan is in colour.", box, round(share, 4))


def caliper_crosses(gray: Gray) -> list[Box]:
    """Return the positions with four bright arms and four darker corners."""
    found = np.zeros(gray.shape, bool)
    around = np.pad(gray, MARGIN, mode="wrap")

    def shifted(row: int, column: int) -> Gray:
        height, width = gray.shape
        return around[MARGIN + row : MARGIN + row + height, MARGIN + column : MARGIN + column + width]

    # The brighter of parallel lines counts, because an arm may be off by one pixel after a resize.
    rows, columns = highest(gray, (2, 1)), highest(gray, (1, 2))
    for arm in ARMS:
        reach = 2 * arm + 1
        arms = np.minimum(lowest(rows, (1, reach)), lowest(columns, (reach, 1)))
        corner, end = max(2, arm // 2 + 1), arm + 4
        corners = reduce(np.maximum, (shifted(row, column) for row in (-corner, corner) for column in (-corner, corner)))
        beyond = reduce(np.minimum, (shifted(*place) for place in ((-end, 0), (end, 0), (0, -end), (0, end))))
        darkest = np.minimum(np.maximum(corners, beyond), 255 - BRIGHTER)
        found |= (arms > LIT) & (arms > darkest + np.uint8(BRIGHTER))
    found[[0, 1, 2, -1, -2, -3]] = False
    found[:, [0, 1, 2, -1, -2, -3]] = False
    if not found.any():
        return []
    pieces, _ = label(binary_dilation(found, iterations=2))
    return [_grown(_box(piece), 4, gray.shape) for piece in find_objects(pieces)]


def _strokes(gray: Gray) -> NDArray[np.bool_]:
    thick = highest(lowest(gray, (5, 5)), (5, 5))
    strokes: NDArray[np.bool_] = (gray - thick > STROKE) & (gray > 130)
    return strokes


def text_lines(strokes: NDArray[np.bool_]) -> list[Box]:
    """Return rows of at least three letters of one height, side by side."""
    pieces, _ = label(strokes, np.ones((3, 3)))
    boxes = [_box(piece) for piece in find_objects(pieces)]
    areas = np.bincount(pieces.ravel())[1:]
    letters = [box for box, area in zip(boxes, areas, strict=True) if _is_letter(box, int(area))]
    lines: list[list[Box]] = []
    for letter in sorted(letters, key=lambda box: box[1]):
        fitting = next((line for line in lines if _continues(line[-1], letter)), None)
        if fitting is None:
            lines.append([letter])
        else:
            fitting.append(letter)
    return [_around(line) for line in lines if len(line) >= LETTERS]


def _is_letter(box: Box, area: int) -> bool:
    height, width = box[2] - box[0], box[3] - box[1]
    return 5 <= height <= 24 and 1 <= width <= 1.6 * height and area / (height * width) > 0.2 and area >= 6


def _continues(last: Box, letter: Box) -> bool:
    height = last[2] - last[0]
    level = abs(last[2] - letter[2]) <= 1 and abs(height - (letter[2] - letter[0])) <= 2
    return level and 0 <= letter[1] - last[3] <= 0.7 * height


def body_marker(strokes: NDArray[np.bool_]) -> Box | None:
    """Return a thin closed drawing, larger than a letter, at the edge of the image, which may cut it."""
    side = min(strokes.shape)
    closed_strokes = lowest(highest(np.pad(strokes, 2), (3, 3)), (3, 3))[2:-2, 2:-2]
    pieces, _ = label(closed_strokes, np.ones((3, 3)))
    for number, piece in enumerate(find_objects(pieces), 1):
        box = _box(piece)
        short, long = sorted((box[2] - box[0], box[3] - box[1]))
        to_edge = min(box[0], box[1], strokes.shape[0] - box[2], strokes.shape[1] - box[3])
        if short < 0.06 * side or long > min(0.4 * side, 2 * short) or to_edge > 0.04 * side:
            continue
        line = pieces[piece] == number
        cut = [(box[0] == 0, box[2] == strokes.shape[0]), (box[1] == 0, box[3] == strokes.shape[1])]
        framed = np.pad(line, [(int(first), int(last)) for first, last in cut], constant_values=True)
        closed = binary_fill_holes(framed)
        if line.mean() < 0.3 and closed.mean() > 0.5 and label(closed & ~framed)[1] <= FIELDS:
            return box
    return None


def colour_overlay(pixels: Pixels) -> tuple[Box, float] | None:
    """Return the largest connected coloured area of a scan, and the coloured fraction of the scan."""
    if pixels.ndim != 3:
        return None
    values = to_uint8(pixels).astype(np.int16)
    coloured = np.ptp(values, axis=2) > COLOURED
    share = float(coloured.mean())
    pieces, count = label(grey_dilation(coloured, (5, 5)))
    if count == 0 or share < 0.0005:
        return None
    largest = int(np.bincount(pieces.ravel())[1:].argmax())
    return _box(find_objects(pieces)[largest]), share


def _box(piece: tuple[slice, ...]) -> Box:
    down, across = piece
    return down.start, across.start, down.stop, across.stop


def _grown(box: Box, by: int, shape: tuple[int, ...]) -> Box:
    return max(0, box[0] - by), max(0, box[1] - by), min(shape[0], box[2] + by), min(shape[1], box[3] + by)


def _around(boxes: list[Box]) -> Box:
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)
