"""Models made to do harm: refused with one clear error, before anything is downloaded, allocated or read."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_scan

import bcdseg
from bcdseg import Model, NetworkConfig, OperatingPoint, Rules, errors


def _small(**options: Any) -> Model:
    torch.manual_seed(0)
    facts = {"classes": ["normal", "benign", "malignant"], "size": 32, "decoder_channels": (16, 8, 8, 4, 4)}
    return bcdseg.create("plain_cnn", **{**facts, **options})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _small().save(tmp_path / "small")


def _edit(folder: Path, change: Callable[[Any], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _network(**facts: Any) -> Callable[[Any], object]:
    return lambda config: config["network"].update(facts)


def _rules(**facts: Any) -> Callable[[Any], object]:
    return lambda config: config["rules"].update(facts)


def _point(**facts: Any) -> Callable[[Any], object]:
    return _rules(operating_points=[{"name": "sure", "positive": "benign", "threshold": 0.3, **facts}])


ADDRESSES = ["tu-hf-hub:timm/resnet18.a1_in1k", "tu-hf_hub:timm/resnet18", "tu-local-dir:/etc", "tu-local-dir:..", "../resnet18"]
LONG, HALF = "x" * 5000, "be\ud800nign"
HARM: dict[str, tuple[Callable[[Any], object], str]] = {
    **{address: (_network(encoder=address), "not the name of an encoder") for address in ADDRESSES},
    "encoder of a number": (_network(encoder=7), "not the name of an encoder"),
    "a head of 2,000,000": (_network(hidden=2_000_000), r"hidden=2000000 is not possible: choose a width from 1 to 8192"),
    "a decoder of 2,000,000": (_network(decoder_channels=[2_000_000, 8, 8, 4, 4]), "widths from 1 to 2048"),
    "a decoder of halves": (_network(decoder_channels=[16, 8, 8, 4, 0.5]), "widths from 1 to 2048"),
    "half a character": (_network(classes=["normal", HALF, "malignant"]), "can't be printed"),
    "a line break": (_network(classes=["normal", "be\nnign", "malignant"]), "can't be printed"),
    "a long class": (_network(classes=["normal", LONG, "malignant"]), "has 5000 characters"),
    "many classes": (_network(classes=["normal", *map(str, range(5000))]), "there are 5001"),
    "no temperature": (_rules(temperature=1e-320), r"choose a number from 0\.01 to 100"),
    "no temperature at all": (_rules(temperature=0), r"choose a number from 0\.01 to 100"),
    "an endless temperature": (_rules(temperature=float("inf")), r"choose a number from 0\.01 to 100"),
    "a temperature that is not a number": (_rules(temperature=float("nan")), r"choose a number from 0\.01 to 100"),
    "an endless class offset": (_rules(class_offsets=[float("inf"), 0, 0]), "class_offsets"),
    "a class offset too many": (_rules(class_offsets=[0, 0, 0, 0, 0]), "5 class_offsets: give one for each of the classes"),
    "a temperature of text": (_rules(temperature="warm"), "can't be built"),
    "a large whole number": (lambda config: config["preprocessing"].update(mean=[10**400]), "can't be built"),
    "an endless stride": (lambda config: config["preprocessing"].update(stride=2**40), "from 1 to 1024"),
    "a point of no class": (_point(positive="cyst"), "'cyst'; the model's classes: 'normal', 'benign', 'malignant'"),
    "a point of half a name": (_point(name=HALF), "can't be printed"),
    "a point with a long name": (_point(name=LONG), "has 5000 characters"),
    "a point of text": (_point(sensitivity="high"), "can't be built"),
    "a point beyond": (_point(specificity=7), "specificity=7"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_config_made_to_do_harm_is_refused(folder: Path, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, message = HARM[harm]
    _edit(folder, change)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    with pytest.raises(errors.ModelFileError, match=message) as caught:
        bcdseg.load(folder)
    assert str(folder / "config.json") in str(caught.value)
    assert len(str(caught.value).encode()) < 1000  # it can be printed, too


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_encoder_is_looked_up_elsewhere_because_of_its_name(address: str) -> None:
    with pytest.raises(errors.OptionError, match="not the name of an encoder"):
        bcdseg.create(address, classes=["a", "b"])
    with pytest.raises(errors.OptionError, match="not the name of an encoder"):
        NetworkConfig(encoder=address, classes=("a", "b"))


def _weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def _enlarged(folder: Path) -> None:
    os.truncate(_weights(folder), 12 * 2**30)  # a hole, which takes no space


def _other_header(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [3 * 2**30], "data_offsets": [0, 12 * 2**30]}}).encode()
    _weights(folder).write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(_weights(folder), 8 + len(header) + 12 * 2**30)


def _long_header(folder: Path) -> None:
    _weights(folder).write_bytes(struct.pack("<Q", 2**32))
    os.truncate(_weights(folder), 12 * 2**30)


def _header_of_nothing(folder: Path) -> None:
    _weights(folder).write_bytes(struct.pack("<Q", 4) + b"null")


def _other_types(folder: Path) -> None:
    content = _weights(folder).read_bytes()
    _weights(folder).write_bytes(content.replace(b'"F32"', b'"I32"'))


WEIGHTS = {
    _enlarged: "truncated or damaged",
    _other_header: "different models",
    _long_header: "truncated or damaged",
    _header_of_nothing: "not a safetensors file",
    _other_types: "has not the type float32",
}


@pytest.mark.parametrize("harm", WEIGHTS, ids=lambda harm: harm.__name__)
def test_weights_that_do_not_fit_are_refused_before_they_are_read(
    folder: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    harm(folder)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(errors.ModelFileError, match=WEIGHTS[harm]):
        bcdseg.load(folder)


def test_a_config_larger_than_any_is_not_read(folder: Path) -> None:
    os.truncate(folder / "config.json", 2**33)
    with pytest.raises(errors.ModelFileError, match="no model's config"):
        bcdseg.load(folder)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"temperature": 1e-320}, r"from 0\.01 to 100"),
        ({"std": [0.0]}, "each of std above 0"),
        ({"mean": [0.5, 0.5]}, "1 channel"),
    ],
)
def test_a_member_made_to_do_harm_is_refused(tmp_path: Path, member: dict[str, Any], message: str) -> None:
    folder = bcdseg.ensemble([_small(), _small()]).save(tmp_path / "two")
    _edit(folder, lambda config: config["network"]["members"][1].update(member))
    with pytest.raises(errors.ModelFileError, match=message):
        bcdseg.load(folder)


@pytest.mark.parametrize("temperature", [0.01, 100.0])
@pytest.mark.parametrize("tta", ["none", "flip"])
def test_probabilities_are_finite_at_every_possible_temperature(temperature: float, tta: str) -> None:
    made = _small()
    with torch.no_grad():
        made.network.class_head.linear.bias.copy_(torch.tensor([3e38, -3e38, 3e38]))  # type: ignore[union-attr, operator]
    found = Model(made.network, made.preprocessing, Rules(temperature=temperature)).predict(draw_scan(0), tta=tta)
    assert np.isfinite(list(found.probabilities.values())).all()
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_a_point_of_an_unknown_class_is_refused_wherever_it_comes_from() -> None:
    model, point = _small(), OperatingPoint(name="sure", positive="cyst", threshold=0.3)
    with pytest.raises(errors.OptionError, match="'cyst'"):
        Model(model.network, model.preprocessing, Rules(operating_points=(point,)))
    model.rules = replace(model.rules, operating_points=(point,))
    with pytest.raises(errors.OptionError, match="'cyst'"):
        model.predict(draw_scan(0), operating_point="sure")


def test_names_of_other_scripts_are_names(tmp_path: Path) -> None:
    names = ("normal", "良性　病変", "zł\u00a0ośliwy 🩺")
    assert bcdseg.load(_small(classes=names).save(tmp_path / "named"), runtime="torch").classes == names
