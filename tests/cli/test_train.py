"""``bcdseg train``, run as a user runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from made import busi
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg import errors
from bcdseg.cli import app
from bcdseg.training.command import Command, overridden, read_options
from bcdseg.training.config import read_config, read_values

QUICK = ("--set", "epochs=1", "--set", "batch_size=8", "--set", "workers=0", "--set", "pictures=no", "--set", "augment=none")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busi(tmp_path_factory.mktemp("data"), (6, 6, 6))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_new_model_is_trained_and_the_run_resumes_from_its_folder_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("lr: 1e-4\nepochs: 7\nencoder: plain_cnn\nsize: 64\n")
    out = tmp_path / "run"
    done = _run(data, "--size", 32, "--config", tmp_path / "options.yaml", "--out", out, *QUICK, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "Best epoch 1 of 1, by its validation scans: Dice of lesions" in done.stdout
    assert f"--model {out / 'model'}" in done.stdout
    config = read_config(out / "config.toml")
    assert (config.lr, config.epochs, config.device) == (1e-4, 1, "cpu"), "the file's, and over it the command line's"
    model = bcdseg.load(str(out / "model"))
    assert (model.network.config.encoder, model.preprocessing.size) == ("plain_cnn", (32, 32))
    assert read_options(out) == ({"encoder": "plain_cnn", "size": 32}, read_values(out / "config.toml"))
    again = _run("--resume", out)
    assert again.exit_code == 0, again.output
    assert "is finished" in again.stderr
    assert again.stdout == done.stdout
    parts = bcdseg.load_split(out / "split.json", bcdseg.open_dataset(data))
    seen = (out / "seen.csv").read_text()
    assert all(one in seen for one in (*parts.train.ids, *parts.val.ids))
    assert not any(one in seen for one in parts.test.ids)
    refused = _run("--resume", out, "--set", "lr=1")
    assert isinstance(refused.exception, errors.OptionError)
    assert "lr=1.0 (0.0001 there)" in str(refused.exception)


def test_all_follows_from_the_seed_also_after_a_kill_before_the_first_checkpoint(data: Path, tmp_path: Path) -> None:
    exact = ("--encoder", "plain_cnn", "--size", 32, *QUICK, "--device", "cpu", "--set", "deterministic=yes")

    def weights(name: str, *arguments: object) -> bytes:
        done = _run(*arguments)
        assert done.exit_code == 0, done.output
        return (tmp_path / name / "model" / "model.safetensors").read_bytes()

    first = weights("first", data, *exact, "--out", tmp_path / "first", "--set", "seed=1")
    torch.rand(3)
    assert weights("second", data, *exact, "--out", tmp_path / "second", "--set", "seed=1") == first
    assert weights("other", data, *exact, "--out", tmp_path / "other", "--set", "seed=2") != first
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("command.toml", "split.json", "seen.csv", "config.toml"):
        shutil.copy(tmp_path / "first" / name, killed)
    assert weights("killed", "--resume", killed) == first


def test_a_new_model_follows_from_its_seed_and_leaves_the_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    for make in (
        lambda seed: bcdseg.create("plain_cnn", classes=["a", "b"], size=32, seed=seed),
        lambda seed: bcdseg.recipe("cnn-3class").model(("normal", "benign", "malignant"), seed=seed),
    ):
        one, same, other = (make(seed).network.state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_recipe_and_a_split_of_ones_own(data: Path, tmp_path: Path) -> None:
    dataset = bcdseg.open_dataset(data)
    bcdseg.split(dataset, (0.5, 0.5, 0), seed=3).save(tmp_path / "split.json")
    done = _run(data, "--recipe", "cnn-binary", "--split", tmp_path / "split.json", "--out", tmp_path / "run", *QUICK)
    assert done.exit_code == 0, done.output
    model = bcdseg.load(str(tmp_path / "run" / "model"))
    assert model.classes == bcdseg.recipe("cnn-binary").classes
    assert model.network.config.decoder is None


def test_a_recipe_file_and_the_usual_options_by_name(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text('[model]\nencoder = "plain_cnn"\nsize = 32\n[fit]\nepochs = 9\naugment = "none"\n')
    monkeypatch.chdir(tmp_path)
    options = (
        "--epochs",
        1,
        "--batch-size",
        6,
        "--lr",
        "2e-3",
        "--set",
        "pictures=no",
        "--set",
        "calibrate=no",
        "--set",
        "workers=0",
    )
    done = _run(data, "--recipe", "mine.toml", *options, "-o", "run", "--device", "cpu")
    assert done.exit_code == 0, done.output
    config = read_config("run/config.toml")
    assert (config.epochs, config.batch_size, config.lr, config.augment) == (1, 6, 2e-3, "none")
    monkeypatch.chdir(tmp_path.parent)
    assert "is finished" in _run("--resume", tmp_path / "run").stderr


def test_options_of_a_new_model_apply_to_a_recipe_too() -> None:
    model = Command(data="data", recipe="cnn-3class+mask", size=64, head="global").start(("normal", "benign", "malignant"))
    assert model.preprocessing.size == (64, 64)
    assert model.network.config.head == "global"
    assert Command(data="data", recipe="cnn-3class", size=64, head="none", decoder="unet").start(("benign",)).classes == ()


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({}, {"recipe": "cnn-3class", "size": 64, "teacher": "t"}),
        ({"size": 32}, {"recipe": "cnn-3class", "size": 32, "teacher": "t"}),
        ({"encoder": "resnet18"}, {"encoder": "resnet18", "size": 64, "teacher": "t"}),
        ({"model": "busi-lite"}, {"model": "busi-lite", "teacher": "t"}),
    ],
)
def test_the_command_line_overrides_the_model_of_a_file(
    tmp_path: Path, given: dict[str, object], result: dict[str, object]
) -> None:
    (tmp_path / "mine.toml").write_text('recipe = "cnn-3class"\nsize = 64\nteacher = "t"\nepochs = 3\n')
    model, training = read_options(tmp_path / "mine.toml")
    assert training == {"epochs": 3}
    assert overridden(model, given) == result


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('encoder = "plain_cnn"\nepoch = 1\n', r"mine\.toml: 'epoch': .*Did you mean 'epochs'"),
        ('size = "64"\n', r"mine\.toml: size='64': give a whole number"),
        ('[model]\nencoder = "plain_cnn"\n', r"mine\.toml: is a recipe.*--recipe"),
    ],
)
def test_a_file_of_other_options_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(errors.OptionError, match=message):
        raise _run("data", "--config", tmp_path / "mine.toml").exception or AssertionError
    with pytest.raises(errors.OptionError, match=r"command\.toml is missing"):
        raise _run("data", "--config", tmp_path).exception or AssertionError


def test_prescribed_test_scans_are_never_trained_on(data: Path, tmp_path: Path) -> None:
    def command(parts: list[str]) -> Command:
        rows = [{"image": str(one.image), "label": one.label, "split": parts[at % 3]} for at, one in enumerate(dataset)]
        table = tmp_path / "scans.csv"
        table.write_text("image,label,split\n" + "".join(f"{','.join(map(str, row.values()))}\n" for row in rows))
        return Command(data=str(table))

    dataset = bcdseg.open_dataset(data)
    prescribed = command(["train", "train", "test"])
    parts, table = prescribed.parts(), bcdseg.open_dataset(prescribed.data)
    assert {table[one.id].part for one in (*parts.train, *parts.val)} == {"train"}
    assert parts.test.ids == table.part("test").ids
    assert parts.val.classes == parts.train.classes == dataset.classes
    assert not set(parts.train.ids) & set(parts.val.ids)
    with pytest.raises(errors.OptionError, match=r"of 6 none .*--split"):
        command(["train", "test", ""]).parts()
    with pytest.raises(errors.OptionError, match="prescribes no training part"):
        command(["val", "test", "test"]).parts()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "DATA is missing"),
        (("data", "--recipe", "cnn-3class", "--encoder", "resnet50"), "Give one of --recipe, --encoder"),
        (("data", "--model", "busi-lite", "--weights", "imagenet"), "--weights: for a new model"),
        (("data", "--model", "busi-lite", "--size", "64", "--decoder", "none"), "--decoder, --size: for a new model"),
        (("data", "--recipe", "cnn-3clas"), "Did you mean 'cnn-3class'"),
        (("data", "--encoder", "plain_cnn", "--set", "epoch=1"), "Did you mean 'epochs'"),
        (("--resume", "nothing"), "contains no run"),
        (("--resume", "runs/x", "--out", "y"), "--out: a resumed run has its own"),
        (
            ("--resume", "runs/x", "--class-map", "a=b", "--layout", "busi", "--teacher", "busi-lite", "--size", "64"),
            "--size, --teacher, --layout, --class-map: a resumed run has its own",
        ),
        (("data", "--epochs", "3", "--set", "epochs=4"), "epochs is given twice"),
    ],
)
def test_errors_of_wrong_usage_state_the_right_one(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(errors.BcdsegError, match=message):
        raise _run(*arguments).exception or AssertionError
