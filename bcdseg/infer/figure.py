"""An answer as a matplotlib figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bcdseg.infer.prediction import Prediction


def draw_figure(prediction: Prediction) -> Figure:
    """The overlay, the mask probability and the class probabilities, as far as the model gives them."""
    figure_module = require("matplotlib.figure", extra="plot", purpose="Plotting a prediction")
    shown = 1 + (prediction.mask_probability is not None) + (prediction.heatmap is not None) + bool(prediction.probabilities)
    figure: Figure = figure_module.Figure(figsize=(4.2 * shown, 4), layout="constrained")
    axes = iter(figure.subplots(1, shown, squeeze=False)[0])
    picture = next(axes)
    picture.imshow(prediction.overlay())
    picture.set_title(Path(prediction.source).name, parse_math=False)
    picture.set_axis_off()
    if prediction.mask_probability is not None:
        heat = next(axes)
        drawn = heat.imshow(prediction.mask_probability, vmin=0, vmax=1, cmap="cividis")
        heat.set_title("probability of lesion")
        heat.set_axis_off()
        figure.colorbar(drawn, ax=heat, shrink=0.8)
    if prediction.heatmap is not None:
        looked = next(axes)
        looked.imshow(prediction.heat_overlay())
        looked.set_title(f"what raised '{prediction.explained}'", parse_math=False)
        looked.set_axis_off()
    if prediction.probabilities:
        bars = next(axes)
        places = range(len(prediction.probabilities))
        drawn_bars = bars.barh(places, list(prediction.probabilities.values()), color="#0072B2")
        bars.set_yticks(places, list(prediction.probabilities), parse_math=False)
        bars.bar_label(drawn_bars, fmt="{:.0%}", padding=3)
        bars.set_xlim(0, 1.15)
        bars.invert_yaxis()
        bars.set_title("class probability")
    if prediction.flags:
        figure.supxlabel("\n".join(flag.message for flag in prediction.flags), fontsize="small", parse_math=False)
    return figure
