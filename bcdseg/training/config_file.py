"""Options of a training run as YAML, TOML or ``key=value``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.training.config import CHOICES, FitConfig

TYPES = {field.name: str(field.type) for field in fields(FitConfig)}
"""Annotation of each option, such as ``float | None``."""

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word"}


def read_config(path: str | PathLike[str]) -> FitConfig:
    """Read the options from a TOML or YAML file; those that it doesn't contain keep their defaults.

    Raises:
        OptionError: The file doesn't exist, isn't TOML or YAML, or has an option that doesn't exist or isn't valid.
    """
    path = Path(path)
    try:
        return from_values(read_values(path))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error


def read_values(path: Path) -> dict[str, Any]:
    """Return the content of a TOML or YAML file, not yet validated."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"the file can't be read ({error}).") from error
    if path.suffix.lower() not in (".toml", ".yaml", ".yml"):
        raise OptionError("give a file that ends in .toml, .yaml or .yml.")
    values = from_toml(text) if path.suffix.lower() == ".toml" else _yaml(text)
    if not isinstance(values, dict):
        raise OptionError("holds no options: write one 'name = value' (TOML) or 'name: value' (YAML) a line.")
    return values


def from_values(values: Mapping[str, Any], base: FitConfig | None = None) -> FitConfig:
    """Return a config with some options set; texts are parsed by the option's type, so YAML's ``1e-3`` and ``none`` are valid."""
    return replace(base or FitConfig(), **{known_name(name): typed(name, value) for name, value in values.items()})


def from_settings(settings: Iterable[str], base: FitConfig | None = None) -> FitConfig:
    """Return a config with the ``key=value`` settings of a command line."""
    return from_values(split_settings(settings), base)


def split_settings(settings: Iterable[str]) -> dict[str, str]:
    """Return the ``key=value`` settings of a command line by name, not yet validated."""
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise OptionError(f"{setting!r}: write it as key=value, for example epochs=20.")
        values[name.strip()] = value.strip()
    return values


def from_toml(text: str) -> Any:
    """Parse a TOML document, on every Python version that the library supports."""
    toml = require("tomllib" if sys.version_info >= (3, 11) else "tomli", extra="train", purpose="Reading TOML")
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise OptionError(f"is no valid TOML ({error}).") from error


def to_toml(config: FitConfig) -> str:
    """Return all options of a run in the form that ``read_config`` reads. TOML has no null: None is written as the word none."""
    values = {name: getattr(config, name) for name in TYPES}
    return "# The options of this run. Begin another with the same: bcdseg train --config config.toml\n" + toml_lines(values)


def toml_lines(values: Mapping[str, Any]) -> str:
    """Format texts, numbers, booleans and lists of them as TOML; None is written as the word none."""
    return "".join(f"{name} = {json.dumps('none' if value is None else value)}\n" for name, value in values.items())


def known_name(name: str) -> str:
    """Return the name of an option, or raise an OptionError that suggests the closest name."""
    if name in TYPES:
        return name
    near = get_close_matches(name, TYPES, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(TYPES)}."
    raise OptionError(f"{name!r}: no option of training has this name. {hint}")


def typed(name: str, value: Any) -> Any:
    """Convert a text to the type of its option; return other values unchanged."""
    if not isinstance(value, str):
        return value
    kind, _, or_none = TYPES[name].partition(" | ")
    if or_none and value.lower() in ("none", "null", ""):
        return None
    if kind == "str":
        return value
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in value.strip("[]() ").split(",") if part.strip())
    try:
        return WORDS[value.lower()] if kind == "bool" else {"int": int, "float": float}[kind](value)
    except (KeyError, ValueError):
        what = f"one of {', '.join(CHOICES[name])}" if name in CHOICES else KINDS[kind]
        raise OptionError(f"{name}={value!r}: give {what}{', or none' if or_none else ''}.") from None


def _yaml(text: str) -> Any:
    yaml = require("yaml", extra="train", purpose="Reading YAML")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionError(f"is no valid YAML ({error}).") from error
