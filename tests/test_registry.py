"""Registration of parts by their users, and what happens to names that are unknown or taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bcdseg
from bcdseg.errors import ModelFileError, OptionError
from bcdseg.registry import KINDS, Registry


def test_a_registered_part_is_found_by_its_name_and_stays_what_it_was() -> None:
    registry = Registry("metric")

    @registry.register("ones")
    def ones(y_true: object, y_pred: object) -> int:  # noqa: ARG001
        return 1

    assert registry["ones"] is registry.find("ones") is ones
    assert list(registry) == ["ones"]
    assert "ones" in registry
    assert "twos" not in registry


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    registry = Registry("metric")
    registry.register("dice")(1.0)
    with pytest.raises(OptionError, match=r"metric='dise'.*Did you mean 'dice'.*Known: dice"):
        registry.find("dise")


def test_a_name_is_registered_once() -> None:
    registry = Registry("metric")
    registry.register("max")(max)
    with pytest.raises(OptionError, match=r"'max' is registered twice, by builtins.max and by builtins.min"):
        registry.register("max")(min)
    assert registry["max"] is max


def test_a_definition_that_is_executed_again_replaces_itself() -> None:
    cell = "@registry.register('mine')\ndef mine(y_true, y_pred):\n    return 1\n"
    names = {"registry": Registry("metric"), "__name__": "__main__"}
    exec(cell, names)
    exec(cell.replace("1", "2"), names)
    assert names["registry"]["mine"](None, None) == 2  # type: ignore[index]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "hf:x", None, "x" * 101])
def test_a_name_has_no_characters_of_paths_and_addresses(name: str) -> None:
    with pytest.raises(OptionError, match="choose a name"):
        Registry("encoder").register(name)


@pytest.mark.parametrize("kind", ["head", "encoder"])
def test_a_part_that_a_model_lacks_is_reported_with_what_to_do(small_model: bcdseg.Model, tmp_path: Path, kind: str) -> None:
    small_model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["network"][kind] = "of_another_package"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="has to be registered first: import its module, or install its package"):
        bcdseg.load(tmp_path / "model", runtime="torch")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"kind='colour' is unknown. Known: loss, "):
        bcdseg.register("colour", "red")


def test_every_kind_has_a_registry() -> None:
    assert {"loss", "metric", "head", "encoder", "layout", "runtime", "export_format"} <= KINDS.keys()
    assert all(registry.kind == kind for kind, registry in KINDS.items())
