"""Operating points: stored in a model, chosen by name, and never silent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import bcdseg
from bcdseg.inference.rules import OperatingPoint


def _with_points(model: bcdseg.Model, *points: OperatingPoint) -> bcdseg.Model:
    return bcdseg.Model(model.network, model.preprocessing, replace(model.rules, operating_points=points), name="pointed")


def test_a_point_chooses_the_class_with_a_warning(small_model: bcdseg.Model, scan: NDArray[np.uint8]) -> None:
    plain = small_model.predict(scan)
    rare = min(plain.probabilities, key=plain.probabilities.__getitem__)
    eager = OperatingPoint(name="sensitivity 1", positive=rare, threshold=0.0)
    never = OperatingPoint(name="never", positive=str(plain.label), threshold=1.0)
    model = _with_points(small_model, eager, never)
    assert model.predict(scan).label == plain.label
    predicted = model.predict(scan, operating_point="sensitivity 1")
    assert (predicted.label, predicted.operating_point) == (rare, "sensitivity 1")
    assert predicted.probabilities == plain.probabilities
    assert predicted.confidence == plain.probabilities[rare]
    assert f"Predicted {rare} at the operating point 'sensitivity 1'" in " ".join(map(str, predicted.flags))
    ranked = sorted(plain.probabilities, key=plain.probabilities.__getitem__)
    assert next(iter(model.predict([scan], operating_point="never"))).label == ranked[-2]
    assert predicted.to_dict()["operating_point"] == "sensitivity 1"
    with pytest.raises(bcdseg.errors.OptionError, match="'sensitivity 1', 'never'"):
        model.predict(scan, operating_point="specificity 0.9")


def test_points_are_saved_shown_and_missing_from_old_models(small_model: bcdseg.Model, tmp_path: Path) -> None:
    point = OperatingPoint(
        name="sensitivity 0.95", positive="malignant", threshold=0.2, sensitivity=0.96, specificity=0.5, scans=60
    )
    folder = _with_points(small_model, point).save(tmp_path / "model")
    assert bcdseg.load(folder).rules.operating_points == (point,)
    assert "malignant from a probability of 0.2 (sensitivity 0.96, specificity 0.50 on the 60 scans" in bcdseg.load(folder).card
    config = json.loads((folder / "config.json").read_text())
    del config["rules"]["operating_points"]
    (folder / "config.json").write_text(json.dumps(config))
    assert bcdseg.load(folder).rules.operating_points == ()


def test_an_impossible_point_is_refused() -> None:
    with pytest.raises(bcdseg.errors.OptionError, match="from 0 to 1"):
        OperatingPoint(name="x", positive="a", threshold=1.2)
