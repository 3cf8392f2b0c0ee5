"""One scan of the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcdseg.evaluation.gallery import Picture
from bcdseg.evaluation.plots.outlines import draw_outlines
from bcdseg.evaluation.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 2.6  # inches


def picture_figure(picture: Picture) -> Figure:
    """The scan with truth (solid, blue) and prediction (dashed, yellow) outlined, and beside it the heat map where there is one."""
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
