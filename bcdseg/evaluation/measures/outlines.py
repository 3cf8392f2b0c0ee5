"""Measures of segmentation and lesion detection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bcdseg.evaluation.measures.measure import Measure, Rows, Values, Weights, divide, mean_of, median_of
from bcdseg.evaluation.metrics.detection import FOUND_FROM
from bcdseg.evaluation.metrics.surface import TOLERANCE
from bcdseg.evaluation.results_table import Cases

SMALL, LARGE = 0.03, 0.10
"""Fractions of the image below which a lesion is small and from which it is large: about the terciles of BUSI's lesions."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.0, SMALL), "medium": (SMALL, LARGE), "large": (LARGE, np.inf)}
SIZE_SAYS = {
    "small": f"under {SMALL:.0%} of the image",
    "medium": f"{SMALL:.0%} to {LARGE:.0%} of the image",
    "large": f"{LARGE:.0%} of the image or more",
}
MISSED = "A missed lesion counts"
PIXELS = (
    ("dice", "Dice", "share", True, f"Twice the shared area over the sum of both areas. {MISSED} 0."),
    ("iou", "IoU", "share", True, f"The shared area over the area of either. {MISSED} 0."),
    ("precision", "Pixel precision", "share", True, f"Of what was outlined, the share that is lesion. {MISSED} 0."),
    ("recall", "Pixel recall", "share", True, f"Of the lesion, the share that was outlined. {MISSED} 0."),
    (
        "boundary_f1",
        "Boundary F1",
        "share",
        True,
        f"How much of both outlines lies near the other: within {TOLERANCE:.2%} of the image's diagonal. {MISSED} 0.",
    ),
    (
        "hd95_px",
        "HD95",
        "px",
        False,
        f"The distance from the other that 95 % of each outline stays within. {MISSED} the image's diagonal.",
    ),
    (
        "assd_px",
        "Mean surface distance",
        "px",
        False,
        f"The mean distance of each outline to the other. {MISSED} the image's diagonal.",
    ),
    (
        "hd95_share",
        "HD95, share of the diagonal",
        "share",
        False,
        f"HD95 as a share of the image's diagonal, for images of different sizes. {MISSED} 1.",
    ),
    ("hd95_mm", "HD95", "mm", False, f"HD95 of scans whose pixel size is known. {MISSED} the image's diagonal."),
    (
        "assd_mm",
        "Mean surface distance",
        "mm",
        False,
        f"The mean distance of the outlines, where the pixel size is known. {MISSED} the image's diagonal.",
    ),
)


def outline_measures(cases: Cases) -> Iterator[Measure]:
    """Yield the segmentation measures over scans with a lesion: all, by class and by size; in mm if any scan has a pixel size."""
    chosen = [row for row in PIXELS if row[2] != "mm" or np.isfinite(cases.spacing).any()]
    for subset, (where, which) in subsets(cases).items():
        for name, title, unit, higher, says in chosen:
            for middle, of in (("mean", mean_of), ("median", median_of)):
                end, shown = ("", "") if middle == "mean" else ("/median", ", median")
                scans = partial(_known, name=name, where=where)
                yield Measure(
                    name=f"{name}{subset and '/'}{subset}{end}",
                    title=f"{title}{shown}{subset and ', '}{subset}",
                    says=f"{says} The {middle} over {which}.",
                    section="segmentation",
                    unit=unit,
                    higher_is_better=higher,
                    needs=partial(_one_part, name=which, where=scans),
                    values=of(partial(_column, name=name), scans),
                )


def detection_measures(cases: Cases) -> Iterator[Measure]:
    """Yield the lesion detection measures: lesions found, missed and false; scans without a lesion have measures of their own."""
    rule = f"A lesion is found when an outlined region matches it with an IoU of {FOUND_FROM} or more, one region for each lesion."
    lesions, clear, known = "scans with a lesion", "scans without a lesion", "scans whose true mask is known"
    rows: tuple[tuple[str, str, str, str, bool, str, Callable[[Cases], Rows], Callable[[Cases, Weights], Values]], ...] = (
        (
            "lesion_sensitivity",
            "Lesions found",
            f"Of all lesions, the share that is found. {rule}",
            "share",
            True,
            lesions,
            _lesion,
            _found,
        ),
        (
            "missed_scan_rate",
            "Scans left blank",
            "Of the scans with a lesion, the share in which nothing is outlined.",
            "share",
            False,
            lesions,
            _lesion,
            mean_of(_blank, _lesion),
        ),
        (
            "false_lesions_per_scan",
            "False lesions a scan",
            f"Outlined regions that match no lesion, for each scan. {rule}",
            "count",
            False,
            known,
            _has_mask,
            mean_of(partial(_column, name="lesions_false"), _has_mask),
        ),
        (
            "false_lesion_rate",
            "False-lesion rate on normals",
            "Of the scans without a lesion, the share in which one is outlined.",
            "share",
            False,
            clear,
            _clear,
            mean_of(_outlined, _clear),
        ),
        (
            "false_lesions_per_normal",
            "False lesions a normal scan",
            "Outlined regions for each scan without a lesion.",
            "count",
            False,
            clear,
            _clear,
            mean_of(partial(_column, name="lesions_false"), _clear),
        ),
    )
    for name, title, says, unit, higher, which, where, values in rows:
        if where(cases).any() or not cases.has_mask.any():
            needs = partial(_one_part, name=which, where=where)
            yield Measure(
                name=name,
                title=title,
                says=says,
                section="detection",
                unit=unit,
                higher_is_better=higher,
                needs=needs,
                values=values,
            )


def subsets(cases: Cases) -> dict[str, tuple[Callable[[Cases], Rows], str]]:
    """Return the subsets of the scans with a lesion, each with a description: all (no name), one per class, one per size."""
    found: dict[str, tuple[Callable[[Cases], Rows], str]] = {"": (_lesion, "scans with a lesion")}
    for number, name in enumerate(cases.classes):
        if name != cases.no_lesion:
            found[name] = (partial(_of_class, number=number), f"{name} scans with a lesion")
    for name in SIZES:
        found[name] = (partial(_of_size, size=name), f"scans whose lesions take {SIZE_SAYS[name]}")
    return found


def _one_part(cases: Cases, *, name: str, where: Callable[[Cases], Rows]) -> dict[str, Rows]:
    return {name: where(cases)}


def _column(cases: Cases, *, name: str) -> NDArray[np.float64]:
    return cases.outline[name]


def _known(cases: Cases, *, name: str, where: Callable[[Cases], Rows]) -> Rows:
    rows: Rows = where(cases) & ~np.isnan(cases.outline[name])
    return rows


def _has_mask(cases: Cases) -> Rows:
    return cases.has_mask


def _lesion(cases: Cases) -> Rows:
    return cases.lesion


def _clear(cases: Cases) -> Rows:
    return cases.clear


def _of_class(cases: Cases, *, number: int) -> Rows:
    rows: Rows = cases.lesion & (cases.labels == number)
    return rows


def _of_size(cases: Cases, *, size: str) -> Rows:
    low, high = SIZES[size]
    area = cases.outline["truth_area"]
    rows: Rows = cases.lesion & (area >= low) & (area < high)
    return rows


def _outlined(cases: Cases) -> NDArray[np.float64]:
    return cases.outlined


def _blank(cases: Cases) -> NDArray[np.float64]:
    return 1 - cases.outlined


def _found(cases: Cases, weights: Weights) -> Values:
    rows = cases.lesion
    found, true = cases.outline["lesions_found"][rows], cases.outline["lesions_true"][rows]
    return divide(weights[:, rows] @ found, weights[:, rows] @ true)
