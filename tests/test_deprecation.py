"""Replaced names still work, and warn at the line that uses them."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import busi

import bcdseg
from bcdseg.deprecation import renamed_arguments
from bcdseg.evaluation.training_overlap import remember_scans


def test_a_replaced_function_returns_the_same_and_warns_at_the_callers_line(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(busi(tmp_path, (2, 2, 2)))
    model = bcdseg.create("plain_cnn", classes=data.classes, size=32)
    model.training = {"seen": remember_scans(data.select(data.ids[:3]))}
    expected = bcdseg.exclude_training_samples(model, data).ids
    with pytest.warns(DeprecationWarning, match=r"since bcdseg 0\.2\.0 .* use bcdseg\.exclude_training_samples") as caught:
        found = bcdseg.unseen(model, data).ids
    assert found == expected == data.ids[3:]
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name]


@renamed_arguments("0.2.0", colour="color")
def _paint(*, color: str = "white") -> str:
    return color


def test_an_old_argument_sets_the_new_one_with_a_warning() -> None:
    assert _paint(color="red") == "red"
    with pytest.warns(DeprecationWarning, match=r"_paint\(colour=\.\.\.\) is deprecated .* color="):
        assert _paint(colour="red") == "red"  # type: ignore[call-arg]


def test_an_old_and_a_new_argument_together_are_refused() -> None:
    with pytest.raises(TypeError, match="colour is the former name of color"):
        _paint(color="red", colour="red")  # type: ignore[call-arg]


def test_evaluate_accepts_the_old_name_of_its_argument(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(busi(tmp_path, (2, 2, 2)))
    model = bcdseg.create("plain_cnn", classes=data.classes, size=32)
    model.training = {"seen": remember_scans(data)}
    with pytest.warns(DeprecationWarning, match="allow_training_samples="):
        result = bcdseg.evaluate(model, data, allow_seen=True, draws=0, gallery=0)  # type: ignore[call-arg]
    assert result.cases.ids == data.ids
