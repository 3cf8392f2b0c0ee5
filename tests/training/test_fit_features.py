"""``fit`` with recipes, encoders, new classes, teachers and pictures, on tiny synthetic data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made import busi
from PIL import Image

import bcdseg
from bcdseg import Dataset, Model, errors
from bcdseg.training.pictures import CONFUSION, CURVES, WORST, Pictures

TINY = {
    **{"epochs": 1, "batch_size": 6, "workers": 0, "cache": "none", "ema": None},
    **{"progress": False, "calibrate": False, "pictures": False},
}
LIGHT = {"optimizer": "sgd", "momentum": 0.0}  # without the two numbers a weight that Adam keeps: a third of the checkpoints
NARROW = (16, 16, 8, 8, 8)
SMALLER = {"resnet50": "resnet18", "vgg16": "vgg11"}  # encoders of the same kind: test_recipes.py builds those of the recipes


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    folder = tmp_path_factory.mktemp("parts")
    data = bcdseg.open_dataset(busi(folder / "busi", (3, 3, 3)))
    val = {"normal/normal (3).png", "benign/benign (3).png", "malignant/malignant (3).png"}
    return data.select(set(data.ids) - val), data.select(val)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"
    shutil.rmtree(tmp_path / "run", ignore_errors=True)  # the larger networks' checkpoints would fill a disk


def _model(**options: object) -> Model:
    torch.manual_seed(0)
    chosen = {"classes": ("normal", "benign", "malignant"), "size": 32, "decoder_channels": NARROW, **options}
    return bcdseg.create("plain_cnn", **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [recipe.name for recipe in bcdseg.recipes()])
def test_every_recipe_trains(name: str, parts: tuple[Dataset, Dataset], out: Path) -> None:
    recipe = bcdseg.recipe(name)
    train, val = (recipe.narrow(part) for part in parts)
    narrow = {"decoder_channels": NARROW} if recipe.has_masks else {}
    encoder = recipe.network["encoder"]
    model = recipe.model(train.classes, weights=None, encoder=SMALLER.get(encoder, encoder), size=32, **narrow)
    run = bcdseg.fit(model, train, val, out=out, config=recipe.config(**TINY, **LIGHT))
    row = run.history[0]
    assert ("val_dice" in row) == recipe.has_masks
    assert 0 <= row["val_balanced_accuracy"] <= 1
    assert run.model.classes == train.classes
    frozen = recipe.config().freeze_encoder_epochs == -1
    before, after = (next(one.network.encoder.parameters()) for one in (model, run.model))  # type: ignore[operator, union-attr]
    assert torch.equal(before, after) == frozen


def test_an_encoder_of_no_recipe_trains(parts: tuple[Dataset, Dataset], out: Path) -> None:
    model = bcdseg.create("vgg11_bn", classes=parts[0].classes, size=32, decoder_channels=NARROW)
    assert bcdseg.fit(model, *parts, out=out, **TINY, **LIGHT).best_score > 0


def test_new_classes_get_a_new_head_and_the_rest_is_kept(
    parts: tuple[Dataset, Dataset], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _model(classes=("healthy", "benign"))
    old.training = {"seen": {"contents": ["abc"], "groups": []}}
    frozen = {**TINY, "progress": True, "freeze_encoder_epochs": -1}
    run = bcdseg.fit(old, *parts, out=out, **frozen)
    assert run.model.classes == ("normal", "benign", "malignant")
    assert run.model.no_lesion == "normal"
    assert old.classes == ("healthy", "benign")
    kept, before = run.model.network.encoder.state_dict(), old.network.encoder.state_dict()  # type: ignore[operator, union-attr]
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert "abc" in run.model.training["seen"]["contents"]
    assert len(run.model.training["seen"]["contents"]) == 1 + sum(len(part) for part in parts)
    assert "a new class head" in " ".join(capsys.readouterr().err.split())


def test_an_ensemble_is_not_trained_and_teaches(parts: tuple[Dataset, Dataset], out: Path, tmp_path: Path) -> None:
    teacher = bcdseg.ensemble([_model(), _model()])
    with torch.no_grad():  # a teacher that is sure of one class, whatever the scan
        for member in teacher.network.members:  # type: ignore[union-attr]
            member.class_head.linear.bias.copy_(torch.tensor([-20.0, -20.0, 20.0]))
    with pytest.raises(errors.OptionError, match="an ensemble is not trained"):
        bcdseg.fit(teacher, *parts, out=out, **TINY)
    student, options = _model(), {**TINY, "epochs": 2, "class_weight": 5.0, "lr": 0.01}
    taught = bcdseg.fit(student, *parts, out=out, teacher=teacher, **options)
    alone = bcdseg.fit(student, *parts, out=tmp_path / "alone", **options)
    scan = parts[1].read(parts[1][0])[0]
    assert taught.model.predict(scan).probabilities["malignant"] > alone.model.predict(scan).probabilities["malignant"]


def test_pictures_appear_as_it_goes(parts: tuple[Dataset, Dataset], out: Path) -> None:
    bcdseg.fit(_model(), *parts, out=out, **{**TINY, "epochs": 2, "pictures": True})
    for name in (CURVES, WORST, CONFUSION):
        with Image.open(out / name) as picture:
            assert picture.width > 300


def test_pictures_of_one_task_only_are_of_that_task(parts: tuple[Dataset, Dataset], out: Path) -> None:
    bcdseg.fit(_model(classes=(), head=None), *parts, out=out, **{**TINY, "pictures": True})
    assert (out / CURVES).exists()
    assert (out / WORST).exists()
    assert not (out / CONFUSION).exists()


def test_a_picture_that_can_not_be_written_is_reported_once_and_stops_nothing(out: Path) -> None:
    (out / CURVES).mkdir(parents=True)  # a folder in its place
    finished = SimpleNamespace(history=[{"epoch": 1, "joint": 0.5, "val_dice": 0.5}], validation=[])
    first, writer = SimpleNamespace(is_global_zero=True), Pictures(out, ("a", "b"))
    with pytest.warns(UserWarning, match=r"curves.png: can't be drawn or written"):
        writer.on_train_epoch_end(first, finished)
    writer.on_train_epoch_end(first, finished)
    writer.on_train_end(first, finished)  # a second warning would be an error
