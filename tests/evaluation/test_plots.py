"""Figures of training and reports: their content, and equal files of equal figures."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_cases import made_table
from matplotlib.figure import Figure
from PIL import Image

from bcdseg import errors
from bcdseg.evaluation.plots.charts import confusion_figure, dice_figure, draw_outlines, name_outlines, size_figure
from bcdseg.evaluation.plots.curves import roc_figure
from bcdseg.evaluation.plots.style import LINES, figure_bytes, new_figure, save_figure
from bcdseg.evaluation.results_table import Cases
from bcdseg.training.pictures import curves_figure

COUNTS = np.array([[12, 3, 1], [0, 40, 9], [0, 0, 0]])
CLASSES = ("normal", "benign $x^2$", "malignant")


def _words(content: bytes) -> list[str]:
    comments = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    root = ET.fromstring(content, parser=comments)
    return [node.text.strip() for node in root.iter() if node.text and node.tag is ET.Comment]


def test_a_confusion_matrix_shows_counts_shares_and_names() -> None:
    words = _words(figure_bytes(confusion_figure(COUNTS, CLASSES, title="fold 1"), "svg"))
    for word in ("12", "75 %", "40", "82 %", "n = 16", "n = 0", "benign $x^2$", "true class", "predicted class", "fold 1"):
        assert word in words, word


@pytest.mark.parametrize(
    "draw",
    [lambda cases: roc_figure(cases, draws=2), dice_figure, size_figure, lambda cases: confusion_figure(COUNTS, cases.classes)],
)
def test_names_of_classes_stay_text_and_leave_room_for_the_axes(draw: Callable[[Cases], Figure]) -> None:
    names = ("normal", "benign", f"${'a class with a long name ' * 4}^$")
    words = _words(figure_bytes(draw(replace(made_table(), classes=names, positive=None)), "svg"))
    assert any("$a class wit…ong name ^$" in word for word in words)


def test_the_same_figure_is_the_same_file() -> None:
    for kind in ("png", "svg"):
        assert figure_bytes(confusion_figure(COUNTS, CLASSES), kind) == figure_bytes(confusion_figure(COUNTS, CLASSES), kind)


def test_a_figure_is_written_by_the_ending_of_its_name(tmp_path: Path) -> None:
    figure = confusion_figure(COUNTS, CLASSES)
    with Image.open(save_figure(figure, tmp_path / "one.png")) as picture:
        assert picture.format == "PNG"
    assert ET.parse(save_figure(figure, tmp_path / "one.svg")).getroot().tag.endswith("svg")
    with pytest.raises(errors.OutputExistsError):
        save_figure(figure, tmp_path / "one.png")
    with pytest.raises(errors.OptionError, match="png, svg"):
        save_figure(figure, tmp_path / "one.gif")


def test_outlines_lie_on_the_edges_of_the_masks() -> None:
    scan = np.full((40, 60), 80, np.uint8)
    truth, predicted = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:20, 10:30] = True
    predicted[:, 50:] = True  # at the edge of the scan: still a closed line
    figure = new_figure(6, 4)
    axes = figure.subplots()
    draw_outlines(axes, scan, truth=truth, predicted=predicted, title="one")
    name_outlines(figure)
    lines = [np.array(line.get_xydata()) for line in axes.lines]
    assert [tuple(line.min(axis=0)) + tuple(line.max(axis=0)) for line in lines] == [
        (9.5, 9.5, 29.5, 19.5),
        (49.5, -0.5, 59.5, 39.5),
    ]
    assert axes.get_xlim() == (-0.5, 59.5)
    assert figure_bytes(figure)
    draw_outlines(new_figure().subplots(), scan, truth=np.zeros((40, 60), bool), predicted=None)  # nothing to draw: no error


def test_lines_are_distinct_in_gray_too() -> None:
    assert len({str(style["linestyle"]) for style in LINES}) == len({style["color"] for style in LINES}) == len(LINES)


@pytest.mark.parametrize("epochs", [1, 30])
def test_curves_show_what_is_known(epochs: int) -> None:
    rows = [{"epoch": epoch, "mask_loss": 1 / epoch, "val_dice": 0.5, "joint": epoch / 40} for epoch in range(1, epochs + 1)]
    figure = curves_figure(rows)
    assert [axes.get_title() for axes in figure.axes] == ["mask loss", "on validation scans"]
    words = _words(figure_bytes(figure, "svg"))
    assert f"best epoch: {epochs}" in words
    assert "validation" not in words
    with Image.open(io.BytesIO(figure_bytes(figure))) as picture:
        assert picture.width > picture.height
