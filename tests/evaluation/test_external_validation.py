"""One model on several data sets: the table, the heterogeneity and the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made import busi
from PIL import Image
from typer.testing import CliRunner

import bcdseg
from bcdseg.cli import app
from bcdseg.evaluation.external_validation import ExternalValidation, evaluate_external
from bcdseg.evaluation.measures.measure import Estimate
from bcdseg.evaluation.metrics.statistics import random_effects


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("external")
    found = [busi(root / name, (2, 11, 11)) for name in ("north", "south")]
    for path in found[1].rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    return found


@pytest.fixture(scope="module")
def found(small_model: bcdseg.Model, folders: list[Path]) -> ExternalValidation:
    return evaluate_external(small_model, [bcdseg.open_dataset(one) for one in folders], draws=50, gallery=0)


def test_each_data_set_has_its_evaluation_and_the_pooled_value_is_theirs(found: ExternalValidation) -> None:
    assert list(found) == list(found.evaluations) == ["north", "south"]
    assert "dice" in found["north"]
    assert "dise" not in found["north"]
    assert dict(found["north"].estimates).keys() == set(found["north"])
    estimates = found.estimates("dice")
    assert [one.value for one in estimates] == [found["north"]["dice"].value, found["south"]["dice"].value]
    expected = random_effects([one.value for one in estimates], [one.se for one in estimates])  # type: ignore[arg-type]
    assert found.heterogeneity["dice"] == expected
    barred = replace(found, evaluations={f"{name}|a": one for name, one in found.evaluations.items()}).table().splitlines()
    assert barred[0].startswith(r"|  | north\|a | south\|a |")
    table = found.table()
    assert "| Dice |" in table
    assert "north | south | pooled (95 % interval) | I²" in table
    assert "22 scans" not in repr(found)
    assert "north (24 scans)" in repr(found)
    with pytest.raises(bcdseg.errors.OptionError, match="'east' is not one of the data sets: north, south"):
        found["east"]


def test_the_report_has_all_data_sets(found: ExternalValidation, tmp_path: Path) -> None:
    page = found.save(tmp_path / "out")
    text = page.read_text()
    for part in ("External validation of", "Heterogeneity", "prediction interval", "north", "be ruled out"):
        assert part in text, part
    content = json.loads((tmp_path / "out" / "external.json").read_text(), parse_constant=pytest.fail)
    assert [one["name"] for one in content["datasets"]] == ["north", "south"]
    assert content["heterogeneity"]["dice"].keys() >= {"value", "i2", "tau2", "q", "p"}
    assert (tmp_path / "out" / "north" / "report.html").is_file()
    assert (tmp_path / "out" / "figures" / "external-1.png").is_file()
    with pytest.raises(bcdseg.errors.OutputExistsError):
        found.save(tmp_path / "out")


def test_one_data_set_or_two_of_one_name_are_refused(small_model: bcdseg.Model, folders: list[Path]) -> None:
    data = bcdseg.open_dataset(folders[0])
    for given, message in (
        ([data], "give two or more"),
        ([data, data], "two have the same name"),
        ({"a/b": data, "c": data}, "'a/b' can't name a folder"),
        ({"external.html": data, "c": data}, "'external.html' can't name a folder"),
    ):
        with pytest.raises(bcdseg.errors.OptionError, match=message):
            evaluate_external(small_model, given)  # type: ignore[arg-type]
    with pytest.raises(bcdseg.errors.OptionError, match="is not a data set"):
        evaluate_external(small_model, ["north", "south"])  # type: ignore[list-item]
    odd = replace(data, name="")
    with pytest.raises(bcdseg.errors.OptionError, match="can't name a folder"):
        evaluate_external(small_model, [odd, data])


def test_scans_that_two_data_sets_share_are_reported(small_model: bcdseg.Model, folders: list[Path]) -> None:
    data = bcdseg.open_dataset(folders[0])
    sets = {"first": data.select(data.ids[:3]), "second": data.select(data.ids[2:5])}
    with pytest.warns(bcdseg.errors.DataWarning, match="first and second share 1 scan, such as benign/.* of second"):
        evaluate_external(small_model, sets, draws=0, gallery=0)


@pytest.mark.usefixtures("no_figures")
def test_the_command_takes_several_data_sets(small_model: bcdseg.Model, folders: list[Path], tmp_path: Path) -> None:
    model = small_model.save(tmp_path / "mine")
    command = ["evaluate", str(model), *map(str, folders), "--draws", "0", "--gallery", "0", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "| Dice |" in done.stdout
    assert (tmp_path / "out" / "south" / "report.json").is_file()
    refused = CliRunner().invoke(app, [*command, "--overwrite", "--split", "split.json"])
    assert isinstance(refused.exception, bcdseg.errors.OptionError)


def test_a_rate_of_0_is_pooled_and_a_data_set_without_an_interval_is_named(found: ExternalValidation) -> None:
    rates = {
        "north": Estimate(value=0.0, low=0.0, high=0.1),
        "south": Estimate(value=0.1, low=0.04, high=0.16, se=0.03),
        "east": Estimate(value=0.5, note="too few groups"),
    }
    made = {
        name: replace(found["north"], estimates={**found["north"].estimates, "false_lesion_rate": one})
        for name, one in rates.items()
    }
    validation = ExternalValidation(model="made", evaluations=made)
    expected = random_effects([0.0, 0.1], [0.1 / 3.92, 0.03])
    pooled = validation.heterogeneity["false_lesion_rate"]
    assert pooled.value == pytest.approx(expected.value)
    assert (expected.low < 0, pooled.low) == (True, 0)
    assert validation.not_pooled("false_lesion_rate") == ("east",)
    assert "2 of 3 pooled, without east" in validation.table()


def test_all_data_sets_are_checked_before_the_first_prediction(folders: list[Path]) -> None:
    model = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32)
    model.network.forward = lambda *_: pytest.fail("a scan was predicted")  # type: ignore[method-assign]
    first, second = (bcdseg.open_dataset(one) for one in folders)
    aged = replace(first, samples=tuple(replace(one, facts={"age": 50.0, "device": "A"}) for one in first))
    options: list[tuple[object, str]] = [
        (["age"], "no scan of south has the fact 'age'"),
        ({"age": 50}, "50 are not cut points of 'age'"),
        ({"age": ["old"]}, "are not cut points of 'age'"),
        ({"age": []}, "are not cut points of 'age'"),
        ({"device": [3]}, "'device' is not a number"),
        ({"class": [3]}, "'class' is not a number"),
        ([3], "3 is not the name of a fact"),
        (3, "give a list"),
    ]
    for subgroups, message in options:
        with pytest.raises(bcdseg.errors.OptionError, match=message):
            evaluate_external(model, {"north": aged, "south": second}, subgroups=subgroups)
