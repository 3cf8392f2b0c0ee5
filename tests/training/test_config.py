"""Options of a run: checked at their input, read from files and from key=value, written back unchanged."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bcdseg
from bcdseg import FitConfig
from bcdseg.errors import OptionError
from bcdseg.training.config import CHOICES, LOGGERS, from_settings, read_config, to_toml


def test_numbers_of_numpy_are_numbers() -> None:
    config = FitConfig(epochs=np.int64(3), lr=np.float64(0.01), ema=np.float32(0.5), pictures=np.False_)
    assert [type(value) for value in (config.epochs, config.lr, config.ema, config.pictures)] == [int, float, float, bool]
    with pytest.raises(OptionError, match=r"epochs=2\.5: give a whole number"):
        FitConfig(epochs=np.float32(2.5))


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"epochs": 0}, "epochs=0: give a whole number of 1 or more"),
        ({"epochs": 2.0}, "epochs=2.0"),
        ({"epochs": True}, "epochs=True"),
        ({"optimizer": "adagrad"}, "choose one of adamw, adam, sgd"),
        ({"precision": "64"}, "choose one of auto, 32, bf16, fp16"),
        ({"lr": float("nan")}, "lr=nan: give a number above 0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"ema": 1}, "give a decay between 0 and 1, or None"),
        ({"clip": -1}, "give a norm above 0, or None"),
        ({"patience": 0}, "patience=0"),
        ({"seed": 2**32}, "from 0 to 4294967295"),
        ({"mask_weight": 0, "class_weight": 0}, "give it or mask_weight a number above 0"),
        ({"mix": "mixup", "batch_size": 1}, "give a batch_size above 1"),
        ({"loggers": "wandb"}, "give a list of any of tensorboard, mlflow, wandb"),
        ({"loggers": ["comet"]}, "give a list"),
        ({"compile": 1}, "give True or False"),
        ({"batch_size": 9, "devices": 2}, "give a multiple of 2"),
        ({"epochs": 3, "warmup_epochs": 3}, "less than the 3 epochs"),
        ({"device": "mps", "devices": 2}, "give 1"),
    ],
)
def test_what_can_not_be_is_refused_with_what_can(options: dict[str, object], advice: str) -> None:
    with pytest.raises(OptionError, match=advice.replace("(", r"\(")):
        FitConfig(**options)  # type: ignore[arg-type]


configs = st.builds(
    FitConfig,
    epochs=st.integers(10, 500),
    lr=st.floats(1e-8, 10),
    ema=st.none() | st.floats(0.1, 0.9999),
    clip=st.none() | st.floats(0.1, 100),
    patience=st.none() | st.integers(1, 50),
    deterministic=st.booleans(),
    loggers=st.lists(st.sampled_from(LOGGERS), unique=True),
    **{name: st.sampled_from(choices) for name, choices in CHOICES.items()},  # type: ignore[arg-type]
)


def test_a_written_config_states_the_command_that_trains_with_the_same_options() -> None:
    first, command = to_toml(FitConfig()).splitlines()[:2]
    assert "without its data and its model" in first
    assert command.startswith("# bcdseg train DATA --encoder NAME")


@given(config=configs)
def test_what_is_written_is_read_back(config: FitConfig, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "config.toml"
    path.write_text(to_toml(config))
    assert read_config(path) == config


def test_yaml_and_toml_give_the_same_options(tmp_path: Path) -> None:
    yaml, toml = tmp_path / "run.yaml", tmp_path / "run.toml"
    yaml.write_text("lr: 1e-4  # which YAML takes for a word\nema: null\nloggers: [tensorboard]\nprecision: 32\ncompile: yes\n")
    toml.write_text('lr = 1e-4\nema = "none"\nloggers = ["tensorboard"]\nprecision = "32"\ncompile = true\n')
    expected = FitConfig(lr=1e-4, ema=None, loggers=("tensorboard",), precision="32", compile=True)
    assert read_config(yaml) == read_config(toml) == expected


def test_settings_of_a_command_line_are_typed_by_their_option() -> None:
    config = from_settings(["epochs=3", "lr=2e-3", "ema=none", "deterministic=true", "loggers=wandb,mlflow", "workers=0"])
    assert config == FitConfig(epochs=3, lr=2e-3, ema=None, deterministic=True, loggers=("wandb", "mlflow"), workers=0)
    assert repr(config).startswith("FitConfig(epochs=3, deterministic=True, workers=0")


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("epoch=3", "Did you mean 'epochs'"),
        ("quux=3", "There are: epochs, batch_size"),
        ("epochs=many", "epochs='many': give a whole number"),
        ("ema=often", "give a number, or none"),
        ("compile=maybe", "give true or false"),
        ("schedule=cosin", "choose one of cosine, one_cycle"),
        ("epochs", "write it as key=value"),
    ],
)
def test_the_error_of_a_wrong_setting_states_the_right_one(setting: str, advice: str) -> None:
    with pytest.raises(OptionError, match=advice):
        from_settings([setting])


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("a.toml", "lr = ", "not valid TOML"),
        ("a.yaml", "lr: [", "not valid YAML"),
        ("a.yaml", "- lr", "contains no options"),
        ("a.json", "{}", "ends in .toml, .yaml or .yml"),
        ("a.toml", "epochs = -1", "a.toml: epochs=-1"),
        ("a.toml", "learning_rate = 1", "a.toml: 'learning_rate'"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, name: str, content: str, advice: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(OptionError, match=advice):
        read_config(tmp_path / name)
    with pytest.raises(OptionError, match="can't be read"):
        read_config(tmp_path / "nothing.toml")


def test_every_option_is_documented_in_one_place() -> None:
    text = inspect.getdoc(bcdseg.FitConfig) or ""
    assert [field.name for field in dataclasses.fields(FitConfig) if f"\n    {field.name}: " not in text] == []
