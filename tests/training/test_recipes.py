"""Recipes: each can be built, narrows its data, and states its source."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made import busi
from typer.testing import CliRunner

import bcdseg
from bcdseg import errors
from bcdseg.cli import app

FIVE = ("cnn-3class", "cnn-binary", "mobilenetv2-binary", "resnet50-3class", "vgg16-binary")
NAMES = ("default", *(form for name in FIVE for form in (name, f"{name}+mask")))
THREE = ("normal", "benign", "malignant")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("data") / "busi", (2, 3, 4)))


def test_the_recipes_are_these() -> None:
    assert tuple(one.name for one in bcdseg.recipes()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_builds_what_it_describes(name: str, data: bcdseg.Dataset) -> None:
    recipe = bcdseg.recipe(name)
    narrowed = recipe.narrow(data)
    binary = "binary" in name
    assert len(narrowed) == (7 if binary else 9)
    assert narrowed.classes == (("benign", "malignant") if binary else THREE)
    assert recipe.summary
    assert recipe.source
    assert recipe.config() == recipe.config(**recipe.config().changed())
    with torch.device("meta"):  # the sizes, without filling them
        model = recipe.from_scratch().model(narrowed.classes)
    config = model.network.config
    assert (config.decoder is not None) == ("+mask" in name or name == "default") == recipe.has_masks
    assert config.head == ("guided" if recipe.has_masks else "global")
    assert model.preprocessing.size == (recipe.network["size"],) * 2


@pytest.mark.parametrize(
    ("name", "encoder", "size", "hidden", "dropout", "epochs", "batch", "lr"),
    [
        ("cnn-3class", "plain_cnn", 128, 128, 0.5, 200, 32, 1e-3),
        ("vgg16-binary", "vgg16", 224, 512, 0.5, 30, 32, 1e-3),
        ("resnet50-3class", "resnet50", 224, 256, 0.5, 50, 32, 1e-4),
        ("mobilenetv2-binary", "mobilenet_v2", 150, None, 0.2, 30, 32, 1e-4),
    ],
)
def test_what_the_authors_describe_is_kept(
    name: str, encoder: str, size: int, hidden: int | None, dropout: float, epochs: int, batch: int, lr: float
) -> None:
    for form in (name, f"{name}+mask"):
        recipe = bcdseg.recipe(form)
        network, config = recipe.network, recipe.config()
        assert (network["encoder"], network["size"], network.get("hidden"), network["dropout"]) == (encoder, size, hidden, dropout)
        assert (config.epochs, config.batch_size, config.lr, config.optimizer) == (epochs, batch, lr, "adam")
        assert config.ema is None
        assert config.clip is None


def test_the_mask_form_is_the_same_with_a_decoder() -> None:
    for name in FIVE:
        bare, masks = bcdseg.recipe(name), bcdseg.recipe(f"{name}+mask")
        assert {**masks.network, "decoder": None, "head": "global"} == bare.network
        assert masks.training == bare.training


def test_imagenet_weights_need_a_network_or_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Offline by declaration: without it the hub's client retries for most of a minute before it raises the same error.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    recipe = bcdseg.recipe("mobilenetv2-binary")
    with pytest.raises(errors.WeightsUnavailableError, match=r"(?s)mobilenet_v2.*weights=None"):
        recipe.model(["benign", "malignant"])
    assert recipe.model(["benign", "malignant"], weights=None).classes == ("benign", "malignant")


def test_from_scratch_no_encoder_stays_frozen() -> None:
    vgg = bcdseg.recipe("vgg16-binary")
    assert vgg.config().freeze_encoder_epochs == -1
    scratch = vgg.from_scratch()
    assert scratch.config().freeze_encoder_epochs == 0
    assert scratch.network["weights"] is None
    assert bcdseg.recipe("cnn-3class").from_scratch() == bcdseg.recipe("cnn-3class")


def test_options_can_be_changed() -> None:
    config = bcdseg.recipe("cnn-3class").config(epochs=2, ema="0.9")
    assert (config.epochs, config.ema, config.batch_size) == (2, 0.9, 32)
    model = bcdseg.recipe("cnn-3class").model(THREE, size=64)
    assert model.preprocessing.size == (64, 64)
    with pytest.raises(errors.OptionError, match="epoch"):
        bcdseg.recipe("cnn-3class").config(epoch=2)


def test_data_that_a_recipe_is_not_for(data: bcdseg.Dataset) -> None:
    binary = bcdseg.recipe("cnn-binary")
    with pytest.raises(errors.OptionError, match="narrow the data first"):
        binary.model(data.classes)
    normal = data.select(sample.id for sample in data if sample.label != "malignant")
    with pytest.raises(errors.OptionError, match="no malignant"):
        binary.narrow(normal)
    unlabelled = replace(data, samples=(*data.samples, replace(data[0], id="unknown.png", label=None)))
    assert all(sample.label in ("benign", "malignant") for sample in binary.narrow(unlabelled))


def test_the_error_of_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(errors.OptionError, match=r"Did you mean 'vgg16-binary'.*cnn-3class\+mask"):
        bcdseg.recipe("vgg16-binery")


def test_the_command_lists_them_and_shows_one() -> None:
    listed = CliRunner().invoke(app, ["recipes"])
    assert listed.exit_code == 0
    lines = listed.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in NAMES] == list(NAMES)
    assert "benign / malignant + mask" in listed.stdout
    one = CliRunner().invoke(app, ["recipes", "vgg16-binary"])
    for part in ("hidden = 512", "augment = shift-shear-zoom-flip", "epochs = 30", "clip = none", "kaggle.com"):
        assert part in one.stdout


def test_the_recipes_come_in_the_package() -> None:
    folder = Path(bcdseg.__file__).parent / "training" / "recipes"
    assert {path.stem for path in folder.glob("*.toml")} == {"default", *FIVE}


def test_listing_them_imports_nothing_heavy() -> None:
    code = (
        "import sys, bcdseg; bcdseg.recipes();"
        "print([name for name in ('torch', 'numpy', 'monai', 'pytorch_lightning') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_recipe_is_read_from_any_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nencoder = "plain_cnn"\nsize = 64\n[fit]\nepochs = 3\nlr = "1e-4"\n')
    mine = bcdseg.recipe(path)
    assert (mine.name, mine.source, mine.network["size"]) == ("mine", str(path), 64)
    assert (mine.config().epochs, mine.config().lr) == (3, 1e-4)
    assert not mine.has_masks
    assert bcdseg.recipe(f"{path}+mask").has_masks
    assert mine.model(THREE).preprocessing.size == (64, 64)
    path.write_text('[model]\nencoder = "plain_cnn"\nsize = 64\ndecoder = "unet"\nhead = "none"\nweights = "none"\n')
    segments = bcdseg.recipe(path).model(THREE)
    assert (segments.classes, segments.network.config.decoder) == ((), "unet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\nepochs = 3\n", "has no encoder"),
        ('[model]\nencoder = "plain_cnn"\nwidth = 3\n', "'width' is not an option of \\[model\\]"),
        ('[model]\nencoder = "plain_cnn"\n[fit]\nepoch = 3\n', "Did you mean 'epochs'"),
        ('model = "resnet50"\n', "'model' is not a section"),
        ('classes = "benign"\n[model]\nencoder = "plain_cnn"\n', "classes='benign': give a list of texts"),
        ('classes = [2, 3]\n[model]\nencoder = "plain_cnn"\n', r"classes=\[2, 3\]: give a list of texts"),
        ('source = 3\n[model]\nencoder = "plain_cnn"\n', "source=3: give a text"),
        ('[network]\nencoder = "plain_cnn"\n', "a recipe has no 'network'"),
        ("[model\n", "not valid TOML"),
    ],
)
def test_a_file_that_is_not_a_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(errors.OptionError, match=rf"mine\.toml: .*{message}"):
        bcdseg.recipe(tmp_path / "mine.toml")
    with pytest.raises(errors.OptionError, match=r"other\.toml: the file can't be read"):
        bcdseg.recipe(tmp_path / "other.toml")
