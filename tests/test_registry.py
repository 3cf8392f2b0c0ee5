"""Registration of parts by their users, and what happens to names that are unknown or taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bcdseg
from bcdseg.errors import ModelFileError, OptionError, PluginWarning
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


def test_a_plugin_does_not_take_a_name_of_the_library_or_the_user_in_either_order(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugin:
        name, value, dist = "eager", "eager.parts", None

        def load(self) -> None:
            bcdseg.register("encoder", "plain_cnn")(min)
            bcdseg.register("metric", "late")(min)
            bcdseg.register("metric", "early")(min)

    monkeypatch.setattr("bcdseg.registry.entry_points", lambda group: [Plugin()])  # noqa: ARG005
    monkeypatch.setattr("bcdseg.registry._imported", False)
    monkeypatch.setattr(KINDS["metric"], "_parts", {})
    bcdseg.register("metric", "early")(max)
    with pytest.warns(PluginWarning, match=r"'eager' \(eager.parts\) .*metric 'early' is registered twice"):
        list(KINDS["metric"])
    with pytest.warns(PluginWarning, match=r"metric 'late' .* 'eager' \(eager.parts\) is not used"):
        bcdseg.register("metric", "late")(max)
    assert dict(KINDS["metric"]) == {"early": max, "late": max}
    with pytest.warns(PluginWarning, match=r"encoder 'plain_cnn' .* 'eager' \(eager.parts\) is not used"):
        assert bcdseg.create("plain_cnn", classes=["a", "b"], size=32).network.config.encoder == "plain_cnn"


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
