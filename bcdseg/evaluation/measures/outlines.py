"""Measures of segmentation, and of the size error: long axis and area, with Bland-Altman limits of agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import WITH_LESION, Kind, Measure, Rows, mean_of, median_of
from bcdseg.evaluation.metrics.outline import TOLERANCE_MM, Agreement, bland_altman
from bcdseg.evaluation.metrics.surface import TOLERANCE
from bcdseg.evaluation.metrics.weighted import Values, Weights, mean
from bcdseg.evaluation.results_table import Cases
from bcdseg.messages import percent

SMALL, LARGE = 0.03, 0.10
"""Fractions of the image below which a lesion is small and from which it is large: about the terciles of BUSI's lesions."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.0, SMALL), "medium": (SMALL, LARGE), "large": (LARGE, np.inf)}
SIZE_RANGES = {
    "small": f"under {percent(SMALL)} of the image",
    "medium": f"{percent(SMALL)} to {percent(LARGE)} of the image",
    "large": f"{percent(LARGE)} of the image or more",
}
EMPTY = "Where nothing is outlined, it is"
COLUMNS = (
    ("dice", "Dice", "fraction", True, f"Twice the area of the overlap over the sum of both areas. {EMPTY} 0."),
    ("iou", "IoU", "fraction", True, f"The area of the overlap over the area of the union. {EMPTY} 0."),
    ("precision", "Pixel precision", "fraction", True, f"The fraction of the predicted pixels that are lesion. {EMPTY} 0."),
    ("recall", "Pixel recall", "fraction", True, f"The fraction of the lesion's pixels that are predicted. {EMPTY} 0."),
    (
        "boundary_f1",
        "Boundary F1",
        "fraction",
        True,
        f"How much of both outlines is near the other: within {percent(TOLERANCE, 2)} of the image's diagonal. {EMPTY} 0.",
    ),
    (
        "surface_dice",
        "Surface Dice (NSD)",
        "fraction",
        True,
        f"The fraction of both outlines that is within {{tolerance}} mm of the other, where the pixel size is known. {EMPTY} 0.",
    ),
    (
        "hd95_px",
        "HD95",
        "px",
        False,
        f"The distance from the other outline that 95 % of each outline stays within. {EMPTY} the image's diagonal.",
    ),
    (
        "assd_px",
        "Mean surface distance",
        "px",
        False,
        f"The mean distance of each outline to the other (ASSD). {EMPTY} the image's diagonal.",
    ),
    (
        "hd95_share",
        "HD95, fraction of the diagonal",
        "fraction",
        False,
        f"HD95 as a fraction of the image's diagonal, for images of different sizes. {EMPTY} 1.",
    ),
    ("hd95_mm", "HD95 in mm", "mm", False, f"HD95 of scans whose pixel size is known. {EMPTY} the image's diagonal."),
    (
        "assd_mm",
        "Mean surface distance in mm",
        "mm",
        False,
        f"The mean distance of the outlines (ASSD), where the pixel size is known. {EMPTY} the image's diagonal.",
    ),
)
NEEDS_SPACING = ("surface_dice", "hd95_mm", "assd_mm")


def outline_measures(cases: Cases, tolerance_mm: float = TOLERANCE_MM) -> Iterator[Measure]:
    """Yield the segmentation measures over scans with a lesion: all, by class and by size; in mm if any scan has a pixel size.

    Args:
        cases: Results table.
        tolerance_mm: Tolerance of the normalised surface Dice in the table, for its definition.
    """
    chosen = [row for row in COLUMNS if row[0] not in NEEDS_SPACING or np.isfinite(cases.spacing).any()]
    for subset, kind in subsets(cases).items():
        for name, title, unit, higher, definition in chosen:
            for middle, of in (("mean", mean_of), ("median", median_of)):
                end, shown = ("", "") if middle == "mean" else ("/median", ", median")
                scans = Kind(kind.name, partial(_known, name=name, where=kind.rows))
                yield Measure(
                    name=f"{name}{subset and '/'}{subset}{end}",
                    title=f"{title}{shown}{subset and ', '}{subset}",
                    definition=f"{definition.replace('{tolerance}', f'{tolerance_mm:g}')} The {middle} over {kind.name}.",
                    section="segmentation",
                    unit=unit,
                    higher_is_better=higher,
                    needs=scans,
                    values=of(partial(_column, name=name), scans),
                )


def subsets(cases: Cases) -> dict[str, Kind]:
    """Return the subsets of the scans with a lesion: all (no name), one per class, one per size."""
    found = {"": WITH_LESION}
    for number, name in enumerate(cases.classes):
        if name != cases.no_lesion:
            found[name] = Kind(f"{name} scans with a lesion", partial(_of_class, number=number))
    for name in SIZES:
        found[name] = Kind(f"scans with a lesion of {SIZE_RANGES[name]}", partial(of_size, size=name))
    return found


def of_size(cases: Cases, *, size: str) -> Rows:
    """Return the scans with a lesion of one size."""
    low, high = SIZES[size]
    area = cases.outline["truth_area"]
    rows: Rows = cases.lesion & (area >= low) & (area < high)
    return rows


def _column(cases: Cases, *, name: str) -> NDArray[np.float64]:
    return cases.outline[name]


def _known(cases: Cases, *, name: str, where: Callable[[Cases], Rows]) -> Rows:
    rows: Rows = where(cases) & ~np.isnan(cases.outline[name])
    return rows


def _of_class(cases: Cases, *, number: int) -> Rows:
    rows: Rows = cases.lesion & (cases.labels == number)
    return rows


SIZE_MEASURES = (
    ("long_axis_mm", "Long axis in mm", "mm"),
    ("area_mm2", "Area in mm²", "mm2"),
    ("long_axis_px", "Long axis in pixels", "px"),
)
LIMITS = {"bias": "bias", "low": "lower limit of agreement", "high": "upper limit of agreement"}
RULE = "Over scans with a lesion and a predicted region{known}; the largest region is measured. Missed lesions have none."


def size_measures(cases: Cases) -> Iterator[Measure]:
    """Yield bias, limits of agreement and mean absolute error of the sizes.

    They are in mm where the pixel size is known, and in pixels over all scans if it is unknown of some.
    """
    scaled = measured(cases, "long_axis_mm")
    is_needed = {"px": (measured(cases, "long_axis_px") & ~scaled).any(), "mm": scaled.any(), "mm2": scaled.any()}
    for name, title, unit in [row for row in SIZE_MEASURES if is_needed[row[2]]]:
        rule = RULE.format(known="" if unit == "px" else " whose pixel size is known")
        scans = Kind("scans with a true and a predicted lesion", partial(measured, name=name))
        measure = partial(Measure, section="size", unit=unit, needs=scans)
        for end, limit in LIMITS.items():
            definition = (
                f"The mean of predicted minus true size. {rule}"
                if end == "bias"
                else f"The bias {'minus' if end == 'low' else 'plus'} 1.96 standard deviations of the differences. {rule}"
            )
            yield measure(
                name=f"{name}_{end}",
                title=f"{title}, {limit}",
                definition=definition,
                higher_is_better=None,
                signed=True,
                values=partial(_limit, name=name, end=end),
            )
        yield measure(
            name=f"{name}_error",
            title=f"{title}, mean absolute error",
            definition=f"The mean absolute difference of predicted and true size. {rule}",
            higher_is_better=False,
            values=partial(_absolute_error, name=name),
        )


def measured(cases: Cases, name: str) -> Rows:
    """Return where both the true and the predicted size are known."""
    rows: Rows = np.isfinite(cases.outline[f"true_{name}"]) & np.isfinite(cases.outline[f"predicted_{name}"])
    return rows


def agreement(cases: Cases, name: str, weights: Weights | None = None) -> Agreement:
    """Return bias and limits of agreement of a size."""
    rows = measured(cases, name)
    counts = None if weights is None else weights[:, rows]
    return bland_altman(cases.outline[f"true_{name}"][rows], cases.outline[f"predicted_{name}"][rows], counts)


def _limit(cases: Cases, weights: Weights, *, name: str, end: str) -> Values:
    limit: Values = getattr(agreement(cases, name, weights), end)
    return limit


def _absolute_error(cases: Cases, weights: Weights, *, name: str) -> Values:
    rows = measured(cases, name)
    error = np.abs(cases.outline[f"predicted_{name}"][rows] - cases.outline[f"true_{name}"][rows])
    return mean(error, weights[:, rows])
