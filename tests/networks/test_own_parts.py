"""Encoders and heads of users: modules and registered names that become models, are saved, and are refused where they don't fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import bcdseg
from bcdseg import registry
from bcdseg.errors import ModelFileError, OptionError

pytestmark = pytest.mark.usefixtures("own_names")

CLASSES = ["benign", "malignant"]


class Tiny(nn.Module):
    """Encoder of five strided convolutions."""

    def __init__(self, in_channels: int = 1, width: int = 4) -> None:
        super().__init__()
        self.out_channels = (width,) * 5
        widths = [in_channels, *self.out_channels]
        self.stages = nn.ModuleList(nn.Conv2d(widths[at], widths[at + 1], 3, stride=2, padding=1) for at in range(5))

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            image = torch.relu(stage(image))
            features.append(image)
        return features


class MeanHead(nn.Module):
    """Head with a linear layer on the mean of the deepest features."""

    def __init__(self, config: object) -> None:
        super().__init__()
        self.linear = nn.Linear(config.channels[-1], len(config.classes))  # type: ignore[attr-defined]

    def forward(self, features: list[Tensor], decoded: Tensor | None, mask_logits: Tensor | None) -> Tensor:  # noqa: ARG002
        return self.linear(features[-1].mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_a_module_that_is_not_registered_predicts_and_is_not_saved(scan: NDArray[np.uint8], tmp_path: Path) -> None:
    model = bcdseg.create(Tiny(), classes=CLASSES, size=64)
    found = model.predict(scan)
    assert found.mask is not None
    assert found.mask.shape == scan.shape
    assert set(found.probabilities) == set(CLASSES)
    with pytest.raises(OptionError, match=r"encoder=Tiny: isn't registered"):
        model.save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("decoder", ["unet", "fpn", "pspnet", "unetplusplus", None])
def test_a_registered_encoder_is_saved_and_loaded(decoder: str | None, scan: NDArray[np.uint8], tmp_path: Path) -> None:
    bcdseg.register("encoder", "tiny")(Tiny)
    model = bcdseg.create("tiny", classes=CLASSES, decoder=decoder, size=64, seed=0)
    model.save(tmp_path / "mine")
    loaded = bcdseg.load(tmp_path / "mine")
    assert loaded.network.config.encoder == "tiny"
    assert loaded.predict(scan).probabilities == model.predict(scan).probabilities


def test_a_module_of_a_registered_class_is_saved_if_the_class_builds_the_same(tmp_path: Path) -> None:
    bcdseg.register("encoder", "tiny")(Tiny)
    bcdseg.create(Tiny(), classes=CLASSES, size=64).save(tmp_path / "same")
    assert bcdseg.load(tmp_path / "same").network.config.encoder == "tiny"
    wider = bcdseg.create(Tiny(width=6), classes=CLASSES, size=64)
    with pytest.raises(OptionError, match=r"Register a function of in_channels"):
        wider.save(tmp_path / "wider")


def test_a_function_that_builds_an_encoder_is_registered_too(tmp_path: Path) -> None:
    bcdseg.register("encoder", "tiny-wide")(lambda in_channels: Tiny(in_channels, width=6))
    bcdseg.create("tiny-wide", classes=CLASSES, in_channels=3, size=64).save(tmp_path / "mine")
    assert bcdseg.load(tmp_path / "mine").preprocessing.channels == 3


def test_a_saved_model_names_the_encoder_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bcdseg.register("encoder", "tiny")(Tiny)
    bcdseg.create("tiny", classes=CLASSES, size=64).save(tmp_path / "mine")
    monkeypatch.setattr(registry.ENCODERS, "_parts", {})
    with pytest.raises(ModelFileError, match=r"encoder='tiny' is unknown.*An encoder of your own has to be registered"):
        bcdseg.load(tmp_path / "mine")


def test_a_registered_encoder_that_takes_no_channels_is_refused() -> None:
    odd: dict[str, object] = {"none": lambda: Tiny(1), "other": lambda channels: Tiny(channels), "module": Tiny(1), "text": "Tiny"}
    for name, registered in odd.items():
        bcdseg.register("encoder", f"tiny-{name}")(registered)
        with pytest.raises(OptionError, match=f"encoder='tiny-{name}': .*in_channels"):
            bcdseg.create(f"tiny-{name}", classes=("benign", "malignant"), size=64)


def test_encoders_that_are_not_as_documented_are_refused() -> None:
    class Short(Tiny):
        def forward(self, image: Tensor) -> list[Tensor]:
            return super().forward(image)[:4]

    class Unnamed(nn.Module):
        pass

    for encoder, message in (
        (Short(), r"forward returns feature maps of"),
        (Unnamed(), r"encoder=Unnamed: out_channels is missing"),
        (Tiny(in_channels=3), r"encoder: fails on an image of 1 channel"),
    ):
        with pytest.raises(OptionError, match=message):
            bcdseg.create(encoder, classes=CLASSES, size=64)


def test_a_name_of_another_library_is_not_replaced_in_silence() -> None:
    bcdseg.register("encoder", "resnet18")(Tiny)
    with pytest.raises(OptionError, match=r"'resnet18' is registered twice, by .*Tiny and by segmentation-models-pytorch"):
        bcdseg.create("resnet18", classes=CLASSES, size=64)


def test_weights_of_an_own_encoder_come_from_a_file(tmp_path: Path) -> None:
    trained = Tiny()
    torch.save(trained.state_dict(), tmp_path / "tiny.pth")
    model = bcdseg.create(Tiny(), classes=CLASSES, size=64, weights=tmp_path / "tiny.pth")
    assert torch.equal(model.network.encoder.module.stages[0].weight, trained.stages[0].weight)  # type: ignore[union-attr, index]
    with pytest.raises(OptionError, match=r"weights='imagenet': there are none"):
        bcdseg.create(Tiny(), classes=CLASSES, size=64, weights="imagenet")


def test_a_registered_head_is_saved_and_loaded(scan: NDArray[np.uint8], tmp_path: Path) -> None:
    bcdseg.register("head", "mean")(MeanHead)
    model = bcdseg.create("plain_cnn", classes=CLASSES, head="mean", size=64)
    model.save(tmp_path / "mine")
    loaded = bcdseg.load(tmp_path / "mine")
    assert isinstance(loaded.network.class_head, MeanHead)
    assert loaded.predict(scan).probabilities == model.predict(scan).probabilities


def test_a_head_that_returns_something_else_is_refused() -> None:
    class Flat(MeanHead):
        def forward(self, features: list[Tensor], *_: Tensor | None) -> Tensor:
            return super().forward(features, None, None)[0]

    bcdseg.register("head", "flat")(Flat)
    with pytest.raises(OptionError, match=r"head='flat': forward returns \(2,\) for one scan: return class logits, \(1, 2\)"):
        bcdseg.create("plain_cnn", classes=CLASSES, head="flat", size=64)
    with pytest.raises(OptionError, match=r"head='flatt' is unknown: choose one of guided, global, hierarchical, flat"):
        bcdseg.create("plain_cnn", classes=CLASSES, head="flatt", size=64)
