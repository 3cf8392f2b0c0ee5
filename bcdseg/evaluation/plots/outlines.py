"""Outlines of true and predicted masks on a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.evaluation.plots.style import SKY, YELLOW, new_figure
from bcdseg.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.evaluation.report.gallery import GalleryItem
    from bcdseg.types import Mask, Pixels

TRUTH = {"color": SKY, "linestyle": "-", "linewidth": 1.4}
PREDICTED = {"color": YELLOW, "linestyle": (0, (3, 1.5)), "linewidth": 1.4}
NAMES = {"truth": TRUTH, "prediction": PREDICTED}


def draw_outlines(axes: Any, image: Pixels, *, truth: Mask | None, predicted: Mask | None, title: str = "") -> None:
    """Draw a scan with the true outline (solid) and the predicted one (dashed); None and an empty mask have no outline."""
    axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    for mask, style in ((truth, TRUTH), (predicted, PREDICTED)):
        if mask is not None:
            _draw_outline(axes, mask, style)
    axes.set_axis_off()
    axes.set_title(title, fontsize="small", parse_math=False)


def name_outlines(figure: Figure) -> None:
    """Add a legend of the outlines below the figure."""
    lines = require("matplotlib.lines", extra="evaluate", purpose="Drawing a figure")
    handles = [lines.Line2D([], [], label=name, path_effects=_dark_edge(), **style) for name, style in NAMES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def _draw_outline(axes: Any, mask: Mask, style: dict[str, Any]) -> None:
    from skimage.measure import find_contours

    for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):  # padding closes the outlines of lesions at the edge
        axes.plot(line[:, 1] - 1, line[:, 0] - 1, path_effects=_dark_edge(), scalex=False, scaley=False, **style)


def _dark_edge() -> list[Any]:
    """Return a dark edge, which keeps a light line visible on light tissue and on white paper."""
    effects = require("matplotlib.patheffects", extra="evaluate", purpose="Drawing a figure")
    return [effects.Stroke(linewidth=2.6, foreground="#333333"), effects.Normal()]


SIDE = 2.6  # inches


def picture_figure(picture: GalleryItem) -> Figure:
    """Draw a scan with true (solid, blue) and predicted outline (dashed, yellow), and next to it the heat map if there is one."""
    height, width = picture.image.shape[:2]
    shown = 1 + (picture.heatmap is not None)
    figure = new_figure(SIDE * shown, SIDE * height / width)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01)  # type: ignore[union-attr, call-arg]
    panels = figure.subplots(1, shown, squeeze=False)[0]
    for axes in panels:
        draw_outlines(axes, picture.image, truth=picture.truth, predicted=picture.predicted)
    if picture.heatmap is not None:
        panels[-1].imshow(picture.heatmap, cmap="inferno", alpha=0.55 * picture.heatmap**0.5, vmin=0, vmax=1)
    return figure
