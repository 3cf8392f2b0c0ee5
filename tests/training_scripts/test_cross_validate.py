"""The scripts that compare encoders on audited folds, run from the data folder to the table on made scans."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made import busi

import bcdseg

Script = Callable[..., None]


@pytest.mark.slow
def test_each_scan_is_measured_once_by_the_network_blind_to_it(
    run: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, work = busi(tmp_path / "data", (6, 6, 6), second_mask=False), tmp_path / "work"
    run("cross_validate", data, work, "--encoder", "plain_cnn", "--folds", 1)
    first = (work / "plain_cnn" / "fold-1" / "model" / "model.safetensors").read_bytes()
    run("cross_validate", data, work, "--encoder", "plain_cnn")
    assert (work / "plain_cnn" / "fold-1" / "model" / "model.safetensors").read_bytes() == first  # not trained twice
    run("out_of_fold", data, work, "--encoder", "plain_cnn", "--native", data)
    report = json.loads((work / "plain_cnn" / "report" / "report.json").read_text())
    scans = bcdseg.open_dataset(data)
    assert report["dataset"]["scans"] == len(scans)
    blind = 0
    for number in range(2):
        model = bcdseg.load(work / "plain_cnn" / f"fold-{number}" / "model")
        assert model.preprocessing.size == (48, 48)
        seen = bcdseg.evaluate(model, scans, draws=0, gallery=0, progress=False, allow_training_samples=True)
        blind += seen.training_overlap == "allowed"
    assert blind == 2
    capsys.readouterr()
    run("encoders", data, work)
    dice = next(one for one in report["measures"] if one["name"] == "dice")
    assert f"| Dice | {dice['value']:.3f} ({dice['low']:.3f} to {dice['high']:.3f}) |" in capsys.readouterr().out
    shutil.copytree(work / "plain_cnn", work / "twin")
    run("encoders", data, work, "--against", "plain_cnn")
    assert "- Dice: plain_cnn and twin are equal" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run("encoders", data, work, "--against", "vgg16")
    assert "vgg16: not all of these folds" in capsys.readouterr().err
    run("robustness", data, work, "--encoder", "plain_cnn")
    table = capsys.readouterr().out.splitlines()
    assert table[2].startswith(f"| as they are | {dice['value']:.3f} (")
    assert table[-1].startswith("| mirrored |")
    run("choices", data, work, "--encoder", "plain_cnn")
    table = capsys.readouterr().out.splitlines()
    assert table[2].startswith(f"| as released | {dice['value']:.3f} |")  # the same predictions as the report's
    assert len({row.count("|") for row in table}) == 1
