"""A model on disk: it is loaded unchanged, and every damage has its own message."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import killed
import numpy as np
import pytest
import torch
from drawn import draw_scan
from safetensors.torch import load_file

import bcdseg
from bcdseg import Model, Rules, errors


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    made = bcdseg.create("plain_cnn", classes=["healthy", "ill"], no_lesion="healthy", size=(48, 80), resize="fit", in_channels=3)
    model = Model(
        made.network,
        made.preprocessing,
        Rules(threshold=0.4, temperature=1.7),
        training={"data": "drawn", "figures": {"Dice": 0.5}},
    )
    return model.save(tmp_path / "mine")


def test_it_comes_back_the_same(saved: Path) -> None:
    one, two = bcdseg.load(saved), bcdseg.load(str(saved))
    scan = draw_scan(5)
    assert one.classes == ("healthy", "ill")
    assert one.no_lesion == "healthy"
    assert one.rules == Rules(threshold=0.4, temperature=1.7)
    assert one.preprocessing.size == (48, 80)
    assert one.name == "mine"
    np.testing.assert_array_equal(one.predict(scan).mask_probability, two.predict(scan).mask_probability)
    again = one.save(saved.parent / "again")
    assert (again / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "tu-mobilenetv3_small_050"])
def test_loading_fills_in_every_weight_and_leaves_the_random_numbers_alone(tmp_path: Path, encoder: str) -> None:
    made = bcdseg.create(encoder, classes=["normal", "ill"], weights=None, size=64)
    folder = made.save(tmp_path / "made")
    before = torch.get_rng_state()
    loaded = bcdseg.load(folder, runtime="torch")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, made.network.state_dict()[name]) for name, value in loaded.network.state_dict().items())


def test_a_folder_contains_weights_config_and_card_only(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    config = json.loads((saved / "config.json").read_text())
    assert {"format", "format_version", "library_version", "network", "preprocessing", "rules", "weights", "training"} == set(
        config
    )
    card = (saved / "README.md").read_text()
    assert "Not a medical device" in card
    assert "| Dice | 0.5 |" in card


def test_a_model_is_created_from_numbers_of_numpy(tmp_path: Path) -> None:
    options = {"in_channels": np.int64(1), "seed": np.int64(1), "decoder_channels": np.array([8] * 5), "dropout": np.float32(0.5)}
    for size in (np.int64(64), np.array([64, 96])):
        made = bcdseg.create("plain_cnn", classes=["a", "b"], size=size, **options)
        assert bcdseg.load(made.save(tmp_path / f"{np.size(size)}")).preprocessing == made.preprocessing


def test_half_precision_is_half_the_size_and_almost_the_same(saved: Path, tmp_path: Path) -> None:
    model = bcdseg.load(saved)
    half = model.save(tmp_path / "half", half=True)
    assert (half / "model.safetensors").stat().st_size < 0.55 * (saved / "model.safetensors").stat().st_size
    assert all(
        value.dtype == torch.float16 for value in load_file(half / "model.safetensors").values() if value.is_floating_point()
    )
    scan = draw_scan(5)
    np.testing.assert_allclose(bcdseg.load(half).predict(scan).mask_probability, model.predict(scan).mask_probability, atol=0.01)


def test_nothing_is_replaced_by_default(saved: Path, tmp_path: Path) -> None:
    model = bcdseg.load(saved)
    with pytest.raises(errors.OutputExistsError, match="overwrite=True"):
        model.save(saved)
    model.save(saved, overwrite=True)
    assert bcdseg.load(saved).classes == model.classes
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(errors.OutputExistsError, match="other files"):
        model.save(tmp_path / "thesis", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "thesis"]


def test_what_can_not_be_written_leaves_nothing_behind(saved: Path, tmp_path: Path) -> None:
    model = bcdseg.load(saved)
    model.training["bad"] = object()
    with pytest.raises(TypeError):
        model.save(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("prepare", "left"), [(killed.before_the_swap, 0.3), (killed.after_the_swap, 0.4), (killed.between_two_moves, 0.3)]
)
def test_a_kill_at_any_moment_leaves_a_model_and_the_next_save_cleans_up(
    prepare: Callable[[], None], left: float, tmp_path: Path
) -> None:
    def with_threshold(threshold: float) -> bcdseg.Model:
        model.rules = bcdseg.Rules(threshold=threshold)
        return model

    model, folder = bcdseg.create("plain_cnn", classes=["a", "b"], size=32, decoder_channels=(8,) * 5), tmp_path / "model"
    with_threshold(0.3).save(folder)
    assert killed.save_and_die(with_threshold(0.4), folder, prepare) == killed.KILLED
    assert len(list(tmp_path.iterdir())) > 1, "the killed writer left something"
    assert bcdseg.load(folder).rules.threshold == left
    with_threshold(0.5).save(folder, overwrite=True)
    assert bcdseg.load(folder).rules.threshold == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_live_writer_has_not_finished_stays(saved: Path) -> None:
    from bcdseg.partial import locked, part_of

    model, part = bcdseg.load(saved), part_of(saved)
    part.mkdir()
    with locked(part):
        model.save(saved, overwrite=True)
        assert part.is_dir()
    model.save(saved, overwrite=True)
    assert not part.exists()


def test_a_model_can_be_read_at_every_moment_of_its_replacement(saved: Path) -> None:
    one, other = bcdseg.load(saved), bcdseg.load(saved)
    other.rules = Rules(threshold=0.9)
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for model in (other, one):
                model.save(saved, overwrite=True)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        found = {bcdseg.load(saved, runtime="torch").rules.threshold for _ in range(20)}
    finally:
        stop.set()
        writer.join()
    assert found <= {0.4, 0.9}


def test_the_umask_decides_who_may_read_and_is_left_alone(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bcdseg.load(saved)
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask of the process was changed"))
        model.save(saved, overwrite=True)
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert saved.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in saved.iterdir()} == {0o640}


def _edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), r"no config\.json"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "is missing"),
    "config cut": (lambda folder: (folder / "config.json").write_text('{"format":'), "not valid JSON"),
    "weights cut": (lambda folder: (folder / "model.safetensors").write_bytes(b"\1" * 50), "truncated or damaged"),
    "foreign": (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "another program"),
    "a list": (lambda folder: (folder / "config.json").write_text("[1]"), "another program"),
    "newer": (
        lambda folder: _edit(folder, lambda c: c.update(format_version=2, library_version="9.0")),
        r"bcdseg 9\.0: pip install --upgrade",
    ),
    "unknown encoder": (lambda folder: _edit(folder, lambda c: c["network"].update(encoder="nope")), "can't be built.*nope"),  # type: ignore[attr-defined]
    "unknown option": (lambda folder: _edit(folder, lambda c: c["rules"].update(magic=1)), "can't be built.*magic"),  # type: ignore[attr-defined]
    "other classes": (
        lambda folder: _edit(folder, lambda c: c["network"].update(classes=["healthy", "b", "c"])),
        "different models",
    ),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_has_its_message(saved: Path, damage: str) -> None:
    harm, reason = DAMAGES[damage]
    harm(saved)
    with pytest.raises(errors.ModelFileError, match=reason) as caught:
        bcdseg.load(saved)
    assert str(saved) in str(caught.value)


def test_the_folder_above_a_model_names_the_model(saved: Path) -> None:
    with pytest.raises(errors.ModelFileError, match=rf"Do you mean {re.escape(str(saved))}\?"):
        bcdseg.load(saved.parent)


def test_names_without_a_model() -> None:
    with pytest.raises(errors.ModelNotFoundError, match="busi-lite"):
        bcdseg.load("nothing-of-the-kind")


def test_no_folder_is_named_like_the_home_folder(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, data = bcdseg.load(saved), bcdseg.open_dataset(bcdseg.sample_scans())
    for write in (model.save, data.to_csv, model.export):
        with pytest.raises(errors.OutputError, match="'~' is not expanded"):
            write("~/new.onnx")
    assert not (tmp_path / "~").exists()


def test_a_file_is_not_a_model_folder(saved: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="is a file"):
        bcdseg.load(saved / "model.safetensors")


def test_a_folder_with_the_name_of_a_bundled_model_is_reported(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(saved, tmp_path / "busi-lite")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="is the model of the package"):
        assert "malignant" in bcdseg.load("busi-lite").classes
    assert "malignant" not in bcdseg.load("./busi-lite").classes


def test_loading_reaches_for_no_network(saved: Path) -> None:
    assert bcdseg.load(saved)  # the fixture in conftest would have raised
    assert "pickle" not in (saved / "config.json").read_text()
    assert sys.modules.get("huggingface_hub") is None or bcdseg.load(saved)


def test_the_diagram_shows_encoder_decoder_and_heads(saved: Path) -> None:
    import xml.etree.ElementTree as ET

    from bcdseg.model.diagram import draw_diagram

    for model in (
        bcdseg.load(saved),
        bcdseg.create("plain_cnn", classes=["a", "b"], decoder=None),
        bcdseg.create("plain_cnn", classes=[], head=None),
    ):
        text = " ".join(ET.fromstring(draw_diagram(model)).itertext())
        assert "encoder 1/32" in text
        assert ("decoder (unet)" in text) == (model.network.decoder is not None)
        assert ("class head" in text) == bool(model.classes)
