"""Reports without figures, for tests of their other parts."""

from __future__ import annotations

import pytest

from bcdseg.evaluation.plots.style import figure_bytes, new_figure


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures of reports blank: drawing them takes longer than all else in small reports."""
    blank = {kind: figure_bytes(new_figure(1, 1), kind) for kind in ("png", "svg")}
    monkeypatch.setattr("bcdseg.evaluation.report.figures.figure_bytes", lambda _, kind: blank[kind])
