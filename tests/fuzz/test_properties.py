"""Tables and configs of any texts and values, made up by Hypothesis."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcdseg.errors import OptionError
from bcdseg.table_text import csv_text, read_csv
from bcdseg.training.config import CHOICES, FitConfig, read_config, to_toml

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5)
OPTIONS = st.sampled_from([field.name for field in fields(FitConfig)])


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_any_cells_of_a_table_come_back(rows: list[tuple[str, str]]) -> None:
    read = read_csv(csv_text(("one", "two"), rows))
    assert [(row["one"], row["two"]) for row in read] == rows


@given(st.dictionaries(OPTIONS, VALUES, max_size=4))
def test_any_options_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "options.yaml"
    path.write_text(json.dumps(options, ensure_ascii=True), encoding="utf-8")  # JSON is YAML
    config, problem = None, ""
    try:
        config = read_config(path)
    except OptionError as error:
        problem = str(error)
    assert str(path) in problem if config is None else read_again(config, path.with_suffix(".toml")) == config


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in CHOICES.items()}))
def test_any_possible_config_comes_back(tmp_path_factory: pytest.TempPathFactory, choices: dict[str, str]) -> None:
    config = replace(FitConfig(), **choices)
    assert read_again(config, tmp_path_factory.getbasetemp() / "written.toml") == config


def read_again(config: FitConfig, path: Path) -> FitConfig:
    path.write_text(to_toml(config), encoding="utf-8")
    return read_config(path)
