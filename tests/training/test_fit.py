"""A run from its inputs to its files, on tiny made scans."""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import re
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made import busi, save

import bcdseg
from bcdseg import Dataset, FitConfig, Model, errors

QUICK: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "cache": "memory",
    "augment": "none",
    "calibrate": False,
    "pictures": False,
    "progress": False,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("data"), (4, 4, 4)))


@pytest.fixture(scope="module")
def train(data: Dataset) -> Dataset:
    return data.select(one for at, one in enumerate(data.ids) if at % 4)


@pytest.fixture(scope="module")
def val(data: Dataset) -> Dataset:
    return data.select(one for at, one in enumerate(data.ids) if not at % 4)


def _model(**options: Any) -> Model:
    torch.manual_seed(0)
    given = {"classes": ["normal", "benign", "malignant"], "size": 32, "decoder_channels": (16, 8, 8, 8, 8), **options}
    if options.get("decoder", "") is None:
        del given["decoder_channels"]
    return bcdseg.create("plain_cnn", **given)


def _without_time(history: tuple[dict[str, float], ...]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def _weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


RULES = {"threshold": 0.4, "min_confidence": 0.6, "temperature": 1.7, "presence_threshold": 0.2}


@pytest.fixture(scope="module")
def run(train: Dataset, val: Dataset, tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Run:
    options = {**QUICK, "epochs": 2, "lr": 2e-3, "ema": 0.99, "pictures": True, "calibrate": True, "loggers": ["tensorboard"]}
    point = bcdseg.OperatingPoint(name="of the old weights", positive="benign", threshold=0.4)
    model = _model()
    model.rules = bcdseg.Rules(**RULES, operating_points=(point,))
    return bcdseg.fit(model, train, val, out=tmp_path_factory.mktemp("runs") / "run", **options)


def test_a_run_leaves_a_model_a_table_and_all_that_made_it(run: bcdseg.Run) -> None:
    written = {path.name for path in run.folder.iterdir()}
    assert written >= {"config.toml", "metrics.csv", "seen.csv", "last.ckpt", "best.ckpt", "model", "curves.png", "worst.png"}
    with (run.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "mask_loss", "class_loss", "val_dice", "val_balanced_accuracy", "joint", "lr"} <= rows[0].keys()
    assert run.best_score == max(row["joint"] for row in run.history) == run.history[run.best_epoch - 1]["joint"]
    assert _same(_weights(run.model), _weights(bcdseg.load(str(run.folder / "model"))))
    assert list((run.folder / "tensorboard").glob("events*"))
    mask = run.model.predict(np.zeros((40, 50), np.uint8)).mask
    assert mask is not None
    assert mask.shape == (40, 50)


def test_too_few_validation_scans_leave_the_rules_of_the_model_that_it_started_from(run: bcdseg.Run) -> None:
    assert run.model.rules == bcdseg.Rules(**RULES)  # type: ignore[arg-type]
    assert "more are needed" in run.model.training["calibration"]


def test_rules_that_are_kept_and_removed_without_calibration_are_reported(
    train: Dataset, val: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = _model()
    point = bcdseg.OperatingPoint(name="of the old weights", positive="benign", threshold=0.4)
    model.rules = bcdseg.Rules(**RULES, operating_points=(point,))  # type: ignore[arg-type]
    run = bcdseg.fit(model, train, val, out=tmp_path / "run", **{**QUICK, "progress": True})
    assert run.model.rules == bcdseg.Rules(**RULES)  # type: ignore[arg-type]
    output = capsys.readouterr().err
    for rule, value in (("temperature", 1.7), ("confidence threshold", 0.6), ("mask threshold", 0.4), ("presence threshold", 0.2)):
        assert f"{rule}: kept; {value} from {model.name}" in output
        assert f"{rule}: kept; {value}" in run.model.training["calibration"]
    assert f"Removed: operating point 'of the old weights' of {model.name}" in output


def test_the_model_remembers_its_training_and_no_name_of_a_scan(run: bcdseg.Run, train: Dataset, val: Dataset) -> None:
    training = run.model.training
    assert "9 scans: 9 with a mask, 9 with a label" in training["data"]["training"]
    assert "lr=0.002" in training["method"]["options that differ from the defaults"]
    assert len(training["seen"]["contents"]) == 12
    assert "(validation)" in " ".join(training["figures"])
    text = json.dumps(training) + run.model.card
    assert not any(Path(one).name in text for one in (*train.ids, *val.ids))
    assert str(train[0].image.parent.parent) not in text
    assert all(one in (run.folder / "seen.csv").read_text() for one in (*train.ids, *val.ids))


def test_what_is_kept_is_the_average_of_the_best_epoch(run: bcdseg.Run) -> None:
    state = torch.load(run.folder / "best.ckpt", weights_only=True)
    assert len(state["history"]) == run.best_epoch
    averaged, current = state["state_dict"], state["current_model_state"]
    kept = _weights(run.model)
    name = "encoder.stages.0.0.weight"
    assert torch.equal(kept[name], averaged[f"network.{name}"])
    assert not torch.equal(kept[name], current[f"network.{name}"])


def test_it_learns_both_tasks(data: Dataset, tmp_path: Path) -> None:
    options = {**QUICK, "epochs": 8, "lr": 3e-3, "schedule": "constant", "encoder_lr": 1.0, "ema": 0.9}
    run = bcdseg.fit(_model(dropout=0), data, _copy(data, tmp_path), out=tmp_path / "run", **options)
    first, last = run.history[0], run.history[-1]
    assert last["mask_loss"] < 0.8 * first["mask_loss"]
    assert last["class_loss"] < 0.8 * first["class_loss"]
    assert run.history[run.best_epoch - 1]["val_dice"] > 0.6
    assert run.best_score > first["joint"] + 0.1


def _copy(data: Dataset, folder: Path) -> Dataset:
    """Copy the scans with one pixel changed, under other names, to check whether a network can learn at all."""
    from PIL import Image

    samples = []
    for sample in data:
        pixels = np.asarray(Image.open(sample.image)).copy()
        pixels[0, 0] ^= 1
        path = save(folder / sample.id, pixels)
        samples.append(replace(sample, image=path, id=f"copy of {sample.id}"))
    return Dataset(tuple(samples), "copies")


def test_the_same_seed_is_the_same_run_and_another_is_not(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    options = {**QUICK, "augment": "light"}
    runs = [
        bcdseg.fit(_model(), train, val, out=tmp_path / str(number), seed=seed, deterministic=True, **options)
        for number, seed in enumerate((3, 3, 4))
    ]
    assert _without_time(runs[0].history) == _without_time(runs[1].history)
    assert _same(_weights(runs[0].model), _weights(runs[1].model))
    assert not _same(_weights(runs[0].model), _weights(runs[2].model))
    for name in ("best.ckpt", "last.ckpt"):
        assert (runs[0].folder / name).read_bytes() == (runs[1].folder / name).read_bytes()


def test_model_and_process_are_left_as_they_were(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    model = _model()
    before = _weights(model), list(warnings.filters), torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1]
    dice, starts = random.getstate(), multiprocessing.get_start_method(allow_none=True)
    bcdseg.fit(model, train, val, out=tmp_path / "run", deterministic=True, **QUICK)
    assert _same(before[0], _weights(model))
    assert not model.training
    assert before[1:3] == (list(warnings.filters), torch.get_num_threads())
    assert torch.equal(before[3], torch.get_rng_state())
    assert (before[4] == np.random.get_state()[1]).all()
    assert random.getstate() == dice
    assert multiprocessing.get_start_method(allow_none=True) == starts
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic
    assert (torch.tensor([1e-38]) * 1e-3 != 0).all(), "denormals are flushed no more"
    assert torch.is_grad_enabled()


def _bare(dataset: Dataset, *, masks: bool = True, labels: bool = True) -> Dataset:
    samples = (replace(one, masks=one.masks if masks else (), label=one.label if labels else None) for one in dataset)
    return replace(dataset, samples=tuple(samples))


@pytest.mark.parametrize("decoder", ["unet", None])
def test_labels_alone_train_the_classes(decoder: str | None, train: Dataset, val: Dataset, tmp_path: Path) -> None:
    labels = {"masks": False}
    model = _model(decoder=decoder, no_lesion=None)
    run = bcdseg.fit(model, _bare(train, **labels), _bare(val, **labels), out=tmp_path / "run", **QUICK)
    assert {"class_loss", "val_balanced_accuracy"} <= run.history[0].keys()
    assert not {"mask_loss", "val_dice"} & run.history[0].keys()
    assert run.best_score == run.history[0]["val_balanced_accuracy"]


def test_masks_alone_train_the_outlines_and_leave_the_class_head(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    model = _model()
    run = bcdseg.fit(model, _bare(train, labels=False), _bare(val, labels=False), out=tmp_path / "run", **QUICK)
    assert "mask_loss" in run.history[0]
    assert not {"class_loss", "val_balanced_accuracy"} & run.history[0].keys()
    before, after = _weights(model), _weights(run.model)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "decoder", "mask_head"}
    assert "the class head is not trained" in bcdseg.load(run.folder / "model").card


def test_a_mixture_trains_both_and_reports_its_scans(
    train: Dataset, val: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = len(train) // 2
    mixed = replace(train, samples=(*_bare(train, masks=False).samples[:half], *_bare(train, labels=False).samples[half:]))
    run = bcdseg.fit(_model(), mixed, val, out=tmp_path / "run", **{**QUICK, "progress": True})
    assert {"mask_loss", "class_loss"} <= run.history[0].keys()
    output = capsys.readouterr().err
    assert "Training: 9 scans: " in output
    assert "epoch 1/1  mask loss" in output
    assert "\x1b" not in output, "plain lines where there is no terminal"


def test_inverted_masks_are_reported(data: Dataset, tmp_path: Path) -> None:
    for sample in data:
        image, mask = data.read(sample)
        save(tmp_path / "images" / f"{sample.image.name}", image)
        save(tmp_path / "masks" / f"{sample.image.name}", np.ones(image.shape[:2], bool) if mask is None else ~mask)
    inverted = bcdseg.open_dataset(tmp_path)
    train, val = (inverted.select(one for at, one in enumerate(inverted.ids) if (at % 4 > 0) is kept) for kept in (True, False))
    with pytest.warns(errors.DataWarning, match=r"train: the mask of .* covers \d+ % of its scan.* is it inverted"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", **QUICK)


def test_masks_that_a_model_without_a_decoder_can_not_use_are_reported(
    train: Dataset, val: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = "The model has no decoder, so it only classifies: the masks of the data are not used."
    for name, part in (("with", train), ("without", _bare(train, masks=False))):
        bcdseg.fit(_model(decoder=None), part, val, out=tmp_path / name, **{**QUICK, "progress": True})
        assert (reported in capsys.readouterr().err) == (name == "with")


def test_the_total_time_is_stated_after_ten_steps(
    train: Dataset, val: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**QUICK, "progress": True, "batch_size": 1, "epochs": 2}
    bcdseg.fit(_model(), train.select(train.ids[:6]), val.select(val.ids[:2]), out=tmp_path / "run", **options)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("about")]
    assert len(lines) == 1
    assert re.fullmatch(r"about \d+ s without validation: [\d.e-]+ s per step, 6 steps per epoch, 1 epoch", lines[0])


def _one_class(dataset: Dataset) -> Dataset:
    return dataset.select(one.id for one in dataset if one.label == "benign")


def _no_malignant(dataset: Dataset) -> Dataset:
    return dataset.select(one.id for one in dataset if one.label != "malignant")


def _empty_masks(dataset: Dataset) -> Dataset:
    black = save(dataset[0].image.parents[1] / "black.png", np.zeros((48, 64), np.uint8))
    return replace(dataset, samples=tuple(replace(one, masks=(black,)) for one in dataset))


def _renamed(dataset: Dataset) -> Dataset:
    return replace(dataset, samples=tuple(replace(one, label="cyst") for one in dataset))


def _one_unknown(dataset: Dataset) -> Dataset:
    return replace(dataset, samples=(*dataset.samples, replace(dataset[0], id="another", label="cyst")))


def _nothing(dataset: Dataset) -> Dataset:
    return dataset.select([])


@pytest.mark.parametrize(
    ("change_train", "change_val", "kind", "message"),
    [
        (_nothing, None, errors.DatasetError, "train: .* has no samples"),
        (None, _nothing, errors.DatasetError, "val: .* has no samples"),
        (_one_class, None, errors.DatasetError, "all 3 labels .* 'benign': one class"),
        (None, _no_malignant, errors.DatasetError, r"val: has no scans of 'malignant' \(train has 3\).*bcdseg.split"),
        (None, lambda d: _bare(d, labels=False), errors.DatasetError, "val: has no scans of"),
        (None, lambda d: replace(d, samples=_bare(_bare(d, masks=False)).samples), errors.DatasetError, "val: .* are empty"),
        (_empty_masks, None, errors.DatasetError, "train: all masks .* are empty"),
        (lambda d: _bare(d, masks=False), None, errors.DatasetError, "train: no lesion of .* has a mask"),
        (None, _empty_masks, errors.DatasetError, "val: all masks .* are empty"),
        (None, _renamed, errors.DatasetError, "val: has no scans of"),
        (None, _one_unknown, errors.DatasetError, "its label 'cyst' is not one of the classes"),
        (lambda d: _bare(d, masks=False, labels=False), None, errors.DatasetError, "nothing can be learned"),
    ],
)
def test_bad_input_is_reported_before_anything_is_written(
    change_train: Any, change_val: Any, kind: type[Exception], message: str, train: Dataset, val: Dataset, tmp_path: Path
) -> None:
    changed = [change(part) if change else part for change, part in ((change_train, train), (change_val, val))]
    with pytest.raises(kind, match=message):
        bcdseg.fit(_model(), *changed, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_labels_that_differ_only_in_case_are_the_classes_of_the_model(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    model = _model()
    with pytest.warns(errors.DataWarning, match="'(Benign|BENIGN)' is 'benign'") as warned:
        run = bcdseg.fit(
            model, train.map_labels({"benign": "Benign"}), val.map_labels({"benign": "BENIGN"}), out=tmp_path / "run", **QUICK
        )
    assert run.model.classes == model.classes
    assert len(warned) == 2
    plain = bcdseg.fit(model, train, val, out=tmp_path / "plain", **QUICK)
    assert [row["joint"] for row in run.history] == [row["joint"] for row in plain.history]
    with pytest.warns(errors.DataWarning, match="'lump' is 'Lump'"):  # a class that the model doesn't have
        new = bcdseg.fit(
            model, train.map_labels({"benign": "Lump"}), val.map_labels({"benign": "lump"}), out=tmp_path / "new", **QUICK
        )
    assert "Lump" in new.model.classes


def test_a_scan_or_group_on_both_sides_is_a_leak(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    grouped = [replace(part, samples=tuple(replace(one, group="patient 7") for one in part)) for part in (train, val)]
    with pytest.raises(errors.LeakError, match="the group 'patient 7'"):
        bcdseg.fit(_model(), *grouped, out=tmp_path / "run", **QUICK)
    with pytest.raises(errors.LeakError, match="the same picture"):
        bcdseg.fit(_model(), train, train, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_options_are_of_one_kind_and_known(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="Did you mean 'epochs'"):
        bcdseg.fit(_model(), train, val, epoch=3)
    with pytest.raises(errors.OptionError, match="give a FitConfig"):
        bcdseg.fit(_model(), train, val, config={"epochs": 3})  # type: ignore[arg-type]
    with pytest.raises(errors.OptionError, match="teacher='small': give a model"):
        bcdseg.fit(_model(), train, val, teacher="small")  # type: ignore[arg-type]
    with pytest.raises(errors.OptionError, match="train='scans': give a data set"):
        bcdseg.fit(_model(), "scans", val)  # type: ignore[arg-type]
    with pytest.raises(errors.OptionError, match="cpu can't train in it"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", device="cpu", precision="fp16")
    with pytest.raises(errors.OptionError, match="give it as out="):
        bcdseg.fit(_model(), train, val, resume=True)
    run = bcdseg.fit(_model(), train, val, out=tmp_path / "run", config=FitConfig(**QUICK), lr=0.5)
    assert run.config == FitConfig(**QUICK, lr=0.5)


def test_a_folder_that_can_not_be_used_is_reported_before_training(
    train: Dataset, val: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(errors.OutputExistsError, match="resume=True"):
        bcdseg.fit(_model(), train, val, out=tmp_path, **QUICK)
    with pytest.raises(errors.OutputError, match="can't be written"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "mine.txt" / "run", **QUICK)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(errors.OutputError, match="MiB free"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", **QUICK)


def test_a_run_without_a_folder_takes_the_first_free(
    train: Dataset, val: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/plain_cnn-1").mkdir(parents=True)
    assert bcdseg.fit(_model(), train, val, **QUICK).folder == Path("runs/plain_cnn-2")


def test_a_loss_that_is_not_finite_stops_immediately_and_names_the_scans(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.network.class_head.linear.weight[0, 0] = torch.nan  # type: ignore[union-attr, index]
    with pytest.raises(errors.NotFiniteError, match=r"class loss nan.*\.png") as caught:
        bcdseg.fit(model, train, val, out=tmp_path / "run", **QUICK)
    assert sum(one in str(caught.value) for one in train.ids) == QUICK["batch_size"]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_the_error_of_too_little_memory_states_what_to_lower(
    error: Exception, train: Dataset, val: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("bcdseg.training.losses.JointLoss.forward", fail)
    with pytest.raises(errors.MemoryLimitError, match="Try batch_size=2 with accumulate=2"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", **QUICK)


def test_it_stops_when_it_gets_no_better(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    options = {**QUICK, "epochs": 9, "patience": 2, "lr": 1e-12, "ema": None, "freeze_encoder_epochs": -1, "optimizer": "sgd"}
    run = bcdseg.fit(_model(), train, val, out=tmp_path / "run", **{**options, "weight_decay": 0})
    assert run.best_epoch + 2 == len(run.history) < 9


def test_a_frozen_encoder_stays_as_it_is(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    model = _model()
    before = _weights(model)
    always = bcdseg.fit(model, train, val, out=tmp_path / "always", freeze_encoder_epochs=-1, **QUICK)
    at_first = bcdseg.fit(model, train, val, out=tmp_path / "first", freeze_encoder_epochs=1, **{**QUICK, "epochs": 2})
    encoder = [name for name in before if name.startswith("encoder.")]
    assert all(torch.equal(before[name], _weights(always.model)[name]) for name in encoder), "running statistics too"
    later = torch.load(at_first.folder / "last.ckpt", weights_only=True)["current_model_state"]
    assert not all(torch.equal(before[name], later[f"network.{name}"]) for name in encoder)


def test_half_precision_leaves_whole_weights(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    run = bcdseg.fit(_model(), train, val, out=tmp_path / "run", precision="bf16", device="cpu", **QUICK)
    assert {value.dtype for value in _weights(run.model).values()} == {torch.float32, torch.int64}


def test_a_precision_that_the_device_has_not_is_refused(train: Dataset, val: Dataset, tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="precision='fp16': cpu can't train in it: choose one of auto, 32, bf16"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", precision="fp16", device="cpu", **QUICK)


def test_compiling_without_a_compiler_is_refused(
    train: Dataset, val: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(errors.OptionError, match=r"needs a C\+\+ compiler"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", compile=True, **QUICK)


def test_a_logger_that_is_not_installed_names_its_extra(
    train: Dataset, val: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(errors.MissingExtraError, match=r"bcdseg\[wandb\]"):
        bcdseg.fit(_model(), train, val, out=tmp_path / "run", loggers=["wandb"], **QUICK)
