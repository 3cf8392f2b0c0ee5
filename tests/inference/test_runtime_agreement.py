"""Agreement of a runtime, against masks and probabilities with a known difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_scan
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg import Failure, Prediction, errors
from bcdseg.cli import app
from bcdseg.model.runtime_agreement import RuntimeAgreement, drop_maps, measure, split_scans
from bcdseg.runtimes import choice


@pytest.fixture
def exact(small_model: bcdseg.Model) -> Prediction:
    found: Prediction = small_model.predict(draw_scan(0))
    mask = np.zeros(found.size, bool)
    mask[10:20, 10:30] = True
    return replace(found, mask=mask, label="benign", probabilities={"normal": 0.1, "benign": 0.7, "malignant": 0.2})


def test_drift_is_what_was_put_in(exact: Prediction) -> None:
    less = exact.mask.copy()  # type: ignore[union-attr]
    less[10:20, 20:30] = False
    other = replace(exact, mask=less, label="malignant", probabilities={"normal": 0.1, "benign": 0.4, "malignant": 0.5})
    broken = Failure("a.png", errors.ImageError("a.png: is empty."))
    empty = replace(exact, mask=np.zeros(exact.size, bool))
    found = measure([exact, exact, empty, broken], [exact, other, empty, broken])
    assert found.scans == 3
    assert found.dice == pytest.approx((1 + 2 * 100 / 300 + 1) / 3)
    assert found.same_class == pytest.approx(2 / 3)
    assert found.probability_difference == pytest.approx((0.3 + 0.3) / 3 / 3)
    assert measure([empty], [exact]).dice == 0


@pytest.mark.parametrize(
    ("values", "within"),
    [
        ((0.995, 0.99, 0.02), True),
        ((0.9949, 1.0, 0.0), False),
        ((1.0, 0.98, 0.0), False),
        ((1.0, 1.0, 0.021), False),
        ((None, 1.0, 0.0), True),
        ((1.0, None, None), True),
        ((1.0, 0.0, 0.0), False),
    ],
)
def test_the_bound(values: tuple[float | None, float | None, float | None], within: bool) -> None:
    dice, same, apart = values
    assert RuntimeAgreement(scans=9, dice=dice, same_class=same, probability_difference=apart).within == within
    assert not RuntimeAgreement(scans=0, dice=dice, same_class=same, probability_difference=apart).within


def test_ranges_and_measured_scans_are_others_and_drawn_alike(tmp_path: Path, exact: Prediction) -> None:
    for number in range(9):
        Image.fromarray(draw_scan(number)).save(tmp_path / f"{number}.png")
    scans = split_scans(tmp_path)
    assert split_scans(tmp_path) == scans
    assert len(scans.measured) == 5
    assert {*scans.measured, *scans.ranges} == set(tmp_path.iterdir())
    with pytest.raises(errors.OptionError, match="two scans or more"):
        split_scans(tmp_path / "1.png")
    kept = drop_maps([exact])[0]
    assert isinstance(kept, Prediction)
    assert kept.mask_probability is None


def test_info_shows_the_drift_of_each_runtime(small_model: bcdseg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "PRECISIONS", {"torch": ("fp32", "bf16", "fp64")})
    for number in range(4):
        Image.fromarray(draw_scan(number)).save(tmp_path / f"{number}.png")
    model = small_model.save(tmp_path / "model")
    done = CliRunner().invoke(app, ["info", str(model), "--drift", str(tmp_path / "*.png")])
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "torch  " in line]
    assert rows[0] == ["torch", "fp32", "1.0000", "100.0 %", "0.0000", "yes"]
    assert rows[1][:2] == ["torch", "bf16"]
    assert "over 2 scans" in done.stdout
    assert "torch with fp64 is left out: precision='fp64' is unknown" in done.stdout
    both = CliRunner().invoke(app, ["info", str(model), "--drift", str(tmp_path), "--diagram", str(tmp_path / "network.svg")])
    assert isinstance(both.exception, bcdseg.errors.OptionError)
