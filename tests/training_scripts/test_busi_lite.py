"""The script that makes the bundled model, run from the data folder to the released files on made scans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made import busi

import bcdseg
from bcdseg import errors

Script = Callable[..., None]


@pytest.mark.slow
def test_one_command_makes_the_model_and_its_card(run: Script, tmp_path: Path) -> None:
    data = busi(tmp_path / "data", (8, 8, 8), second_mask=False)
    out, work = tmp_path / "released", tmp_path / "work"
    run("busi_lite", data, data, work, out)
    model = bcdseg.load(out)
    assert model.classes == ("normal", "benign", "malignant")
    assert model.preprocessing.size == (48, 48)
    report = json.loads((work / "plain_cnn" / "report" / "report.json").read_text())
    assert report["dataset"]["scans"] == len(bcdseg.open_dataset(data))  # each scan once, by the network blind to it
    dice = next(one for one in report["measures"] if one["name"] == "dice")
    assert f"{dice['value']:.3f} ({dice['low']:.3f} to {dice['high']:.3f})" in model.card
    with pytest.raises(errors.LeakError):
        bcdseg.evaluate(model, bcdseg.open_dataset(data))
    weights = (out / "model.safetensors").read_bytes()
    run("busi_lite", data, data, work, out)
    assert (out / "model.safetensors").read_bytes() == weights  # nothing is trained twice
