"""Objects of the caller of ``fit``: losses, optimisers, callbacks, loggers, tasks, and data sets of torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pandas
import pytest
import pytorch_lightning as pl
import torch
from made import scan
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F

import bcdseg
from bcdseg import Model, Output, errors
from bcdseg.training.fit import as_dataset

pytestmark = pytest.mark.usefixtures("own_names")

CLASSES = ("normal", "benign", "malignant")
QUICK: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "cache": "none",
    "augment": "none",
    "calibrate": False,
    "pictures": False,
    "progress": False,
    "device": "cpu",
}


class Arrays(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Map-style data set in memory."""

    def __init__(self, seeds: range, form: str = "mapping") -> None:
        self.scans = [(seed, label) for seed in seeds for label in CLASSES]
        self.form = form
        self.classes = CLASSES

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> Any:
        seed, label = self.scans[index]
        pixels, mask = scan(seed, label)
        if self.form == "tuple":
            image = torch.from_numpy(np.repeat(pixels[None], 3, axis=0) / np.float32(255))
            return image, torch.from_numpy(mask)[None], CLASSES.index(label), seed
        return {"image": pixels, "mask": None if label == "normal" else mask, "label": label, "group": f"patient {seed}"}


TRAIN, VAL = Arrays(range(4)), Arrays(range(4, 6))


def _model(**options: Any) -> Model:
    return bcdseg.create("plain_cnn", **{"classes": CLASSES, "size": 32, "decoder_channels": (8,) * 5, "seed": 0, **options})


class MeanError(nn.Module):
    """Joint loss that counts its calls."""

    calls = 0

    def forward(self, output: Output, truth: Any) -> Tensor:
        MeanError.calls += 1
        assert output.mask is not None
        assert output.classes is not None
        return (output.mask.sigmoid() - truth.mask).square().mean() + F.cross_entropy(output.classes, truth.label)


class Count(pl.Callback):  # type: ignore[misc]
    """Callback that counts the batches of training."""

    batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1


def test_objects_of_the_caller_are_trained_with_and_recorded(tmp_path: Path) -> None:
    made: list[Sequence[dict[str, Any]]] = []

    def optimizer(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        made.append([{"lr": group["lr"], "weight_decay": group["weight_decay"]} for group in groups])
        return torch.optim.Adagrad(groups)

    count, log = Count(), CSVLogger(tmp_path / "log", name="", version="one")
    given: dict[str, Any] = {"loss": MeanError(), "optimizer": optimizer, "callbacks": count, "logger": [log]}
    MeanError.calls = 0
    run = bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", lr=0.01, **given, **QUICK)
    assert MeanError.calls == 3 + 2
    assert count.batches == 3
    assert made[0][0]["lr"] == pytest.approx(0.0033)
    assert "joint" in (tmp_path / "log" / "one" / "metrics.csv").read_text()
    assert "loss" in run.history[0]
    assert "mask_loss" not in run.history[0]
    assert run.model.training["method"]["own loss"].endswith("MeanError")
    assert bcdseg.load(run.folder / "model").classes == CLASSES
    with pytest.raises(errors.OptionError, match=r"started with other objects of your own: loss: .*MeanError.*now none"):
        bcdseg.fit(_model(), TRAIN, VAL, out=run.folder, resume=True)
    assert bcdseg.fit(_model(), TRAIN, VAL, out=run.folder, resume=True, **given).history == run.history


class WeightedError(MeanError):
    """Joint loss with settings: an attribute, a buffer, and a part that is trained."""

    def __init__(self, factor: float = 1.0, weights: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.factor, self.scale = factor, nn.Parameter(torch.rand(1))
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, output: Output, truth: Any) -> Tensor:
        return self.factor * super().forward(output, truth)


def _scaled(output: Output, truth: Any, *, factor: float) -> Tensor:
    return factor * MeanError()(output, truth)


def _enclosed(factor: float) -> Callable[[Output, Any], Tensor]:
    return lambda output, truth: _scaled(output, truth, factor=factor)


def test_a_run_resumes_with_the_same_settings_of_a_loss_only(tmp_path: Path) -> None:
    cases: list[tuple[Callable[..., Any], list[Any], str]] = [
        (WeightedError, [{}, {"factor": 2.0}], r"factor=1\.0.*; now loss settings: factor=2\.0"),
        (WeightedError, [{}, {"weights": (1.0, 2.0, 1.0)}], r"weights=\[1\.0, 1\.0, 1\.0\]; now .*\[1\.0, 2\.0, 1\.0\]"),
        (partial(partial, _scaled), [{"factor": 1.0}, {"factor": 2.0}], r"factor=1\.0.*now .*factor=2\.0"),
        (_enclosed, [{"factor": 1.0}, {"factor": 2.0}], r"factor=1\.0.*now .*factor=2\.0"),
    ]
    for number, (make, (same, other), words) in enumerate(cases):
        folder = tmp_path / str(number)
        run = bcdseg.fit(_model(), TRAIN, VAL, out=folder, loss=make(**same), **QUICK)
        with pytest.raises(errors.OptionError, match=words):
            bcdseg.fit(_model(), TRAIN, VAL, out=folder, resume=True, loss=make(**other))
        assert bcdseg.fit(_model(), TRAIN, VAL, out=folder, resume=True, loss=make(**same)).history == run.history
    started = tmp_path / "0" / "custom.txt"
    started.write_text(started.read_text().splitlines()[0] + "\n")  # as written by version 0.2
    assert bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "0", resume=True, loss=WeightedError()).history


def test_a_run_resumes_with_the_same_augmentation_and_teacher_only(tmp_path: Path) -> None:
    def given(p: float = 0.5, seed: int = 1) -> dict[str, Any]:
        return {**QUICK, "augment": albumentations.Compose([albumentations.HorizontalFlip(p=p)]), "teacher": _model(seed=seed)}

    run = bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", **given())
    assert bcdseg.fit(_model(), TRAIN, VAL, out=run.folder, resume=True, **given()).history == run.history
    for other, words in (
        (given(p=0.25), r"augment: .*p=0\.5.*; now augment: .*p=0\.25"),
        (given(seed=2), "teacher: weights .*; now teacher: weights"),
        ({}, "augment: .*, teacher: weights .*; now none"),
    ):
        with pytest.raises(errors.OptionError, match=f"started with other objects of your own: {words}"):
            bcdseg.fit(_model(), TRAIN, VAL, out=run.folder, resume=True, **other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_loss_of_ones_own_is_trained_with_on_a_gpu(tmp_path: Path) -> None:
    run = bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", loss=MeanError(), **{**QUICK, "device": "cuda"})
    assert run.history[0]["loss"] > 0


def test_registered_names_are_options_of_their_own(tmp_path: Path) -> None:
    bcdseg.register("mask_loss", "mse")(lambda logits, mask: (logits.sigmoid() - mask).square().mean())
    bcdseg.register("optimizer", "nadam")(torch.optim.NAdam)
    bcdseg.register("loss", "mean-error")(MeanError)
    one = bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "one", mask_loss="mse", optimizer="nadam", **QUICK)
    assert one.history[0]["mask_loss"] < 1
    assert (one.config.mask_loss, one.config.optimizer) == ("mse", "nadam")
    assert bcdseg.read_config(tmp_path / "one" / "config.toml") == one.config
    MeanError.calls = 0
    bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "two", loss="mean-error", **QUICK)
    assert MeanError.calls == 5
    with pytest.raises(errors.OptionError, match=r"mask_loss='mes': choose one of dice_ce.*, mse"):
        bcdseg.fit(_model(), TRAIN, VAL, mask_loss="mes")


def test_a_task_of_ones_own_changes_loss_optimiser_and_metrics(tmp_path: Path) -> None:
    class Mine(bcdseg.SegmentationClassificationTask):
        def configure_loss(self) -> Any:
            return MeanError()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.25)

        def configure_metrics(self) -> Any:
            found = {"val_scans": len, "val_unknown": lambda _: None}
            return {**super().configure_metrics(), **found, "joint": lambda results: 0.5 + len(results) / 100}

    run = bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", task=Mine, **QUICK)
    row = run.history[0]
    assert (row["lr"], row["val_scans"], row["joint"]) == (0.25, 6, 0.56)
    assert "val_unknown" not in row
    assert "val_dice" in row
    assert run.model.training["method"]["own task"].endswith("Mine")
    for optimizer in ("sgd", torch.optim.SGD):
        with pytest.raises(errors.OptionError, match=r"Mine.*makes its own in configure_optimizers"):
            bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "refused", task=Mine, optimizer=optimizer, **QUICK)
    with pytest.raises(errors.OptionError, match=r"loss=MeanError\(\): .*Mine.*makes its own in configure_loss"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "refused", task=Mine, loss=MeanError(), **QUICK)
    assert not (tmp_path / "refused").exists()


def test_a_callback_may_stop_the_run_which_is_finished_then(tmp_path: Path) -> None:
    def train(resume: bool) -> bcdseg.Run:
        stop = EarlyStopping("joint", mode="max", patience=1, min_delta=10)
        options = {**QUICK, "epochs": 4}
        return bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", callbacks=stop, resume=resume, **options)

    run = train(resume=False)
    assert len(run.history) == 2
    assert train(resume=True).history == run.history


@pytest.mark.parametrize("score", [None, float("nan")])
def test_a_score_without_a_number_is_refused(tmp_path: Path, score: float | None) -> None:
    class NoScore(bcdseg.SegmentationClassificationTask):
        def configure_metrics(self) -> dict[str, Any]:
            return {**super().configure_metrics(), "joint": lambda _: score}

    with pytest.raises(errors.OptionError, match=rf"NoScore.configure_metrics: the metric 'joint' returned {score} in epoch 1"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", task=NoScore, **QUICK)


@pytest.mark.parametrize(
    ("loss", "returned"),
    [
        (lambda output, _: output.mask.square(), "a tensor of 4x1x32x32"),
        (lambda *_: 0.0, "float"),
        (lambda output, _: {"loss": output.mask.mean()}, "dict"),
    ],
)
def test_a_loss_of_another_form_is_refused(tmp_path: Path, loss: Any, returned: str) -> None:
    with pytest.raises(errors.OptionError, match=f"loss: returned {returned}: return a tensor of one number"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", loss=loss, **QUICK)


@pytest.mark.parametrize("option", ["mask_loss", "class_loss", "loss"])
def test_a_loss_without_a_gradient_is_refused(tmp_path: Path, option: str) -> None:
    outputs: dict[str, Any] = {
        "mask_loss": lambda logits: logits,
        "class_loss": lambda logits: logits,
        "loss": lambda output: output.mask,
    }
    bcdseg.register(option, "detached")(lambda output, _: outputs[option](output).detach().mean())
    with pytest.raises(errors.OptionError, match=f"{option}: its value has no gradient"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", **{**QUICK, option: "detached"})


@pytest.mark.parametrize("option", ["mask_loss", "class_loss"])
def test_a_loss_of_one_task_that_returns_a_number_is_refused(tmp_path: Path, option: str) -> None:
    bcdseg.register(option, "number")(lambda logits, _: logits.mean().item())
    with pytest.raises(errors.OptionError, match=f"{option}: returned float: return a tensor"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", **{**QUICK, option: "number"})


def test_options_that_a_loss_of_ones_own_replaces_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {**QUICK, "progress": True, "loss": MeanError(), "mask_loss": "tversky", "label_smoothing": 0.2}
    bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", **given)
    assert "The loss is your own, which does not use mask_loss='tversky', label_smoothing=0.2." in capsys.readouterr().err


def test_a_callback_without_the_logger_that_it_needs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match=r"these callbacks, loggers or task: .*LearningRateMonitor.* no logger"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", callbacks=LearningRateMonitor(), **QUICK)


def test_a_task_without_the_metric_that_selects_the_epoch_is_refused(tmp_path: Path) -> None:
    class Mine(bcdseg.SegmentationClassificationTask):
        def configure_metrics(self) -> Any:
            return {"val_scans": len}

    with pytest.raises(errors.OptionError, match=r"Mine.configure_metrics: add the metric 'joint'"):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", task=Mine, **QUICK)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)}, r"optimizer=SGD\(...\): .*give the class"),
        ({"optimizer": lambda groups: groups}, r"optimizer: made list of the parameter groups"),
        ({"optimizer": torch.optim.LBFGS}, r"optimizer: can't be made of the parameter groups \(LBFGS"),
        ({"loss": 3}, r"loss=3: give a registered name, a function or a module"),
        ({"loss": torch.nn.BCELoss}, r"loss=BCELoss: is a class"),
        ({"callbacks": [print]}, r"callbacks: .* is not a Callback"),
        ({"logger": print}, r"logger: .* is not a Logger"),
        ({"logger": "tensorbord"}, r"loggers=.'tensorbord',.: give a list of any of tensorboard"),
        ({"task": nn.Module}, r"give a subclass of bcdseg.SegmentationClassificationTask"),
    ],
)
def test_objects_of_other_kinds_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match=message):
        bcdseg.fit(_model(), TRAIN, VAL, out=tmp_path / "run", **QUICK, **options)
    assert not (tmp_path / "run").exists()


class Encoder(nn.Module):
    """Encoder of five strided convolutions."""

    out_channels = (4, 4, 4, 4, 4)

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(width, 4, 3, stride=2, padding=1) for width in (in_channels, 4, 4, 4, 4))

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            image = stage(image).relu()
            features.append(image)
        return features


def test_an_encoder_is_trained_if_its_model_can_be_saved(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match=r"encoder=Encoder: isn't registered"):
        bcdseg.fit(bcdseg.create(Encoder(), classes=CLASSES, size=32), TRAIN, VAL, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()
    bcdseg.register("encoder", "five")(Encoder)
    model = bcdseg.create(Encoder(), classes=CLASSES, size=32)
    run = bcdseg.fit(model, TRAIN, VAL, out=tmp_path / "run", **QUICK)
    assert bcdseg.load(run.folder / "model").network.config.encoder == "five"


class Normed(Encoder):
    """Encoder with a batch norm of its smallest features."""

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__(in_channels)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> list[Tensor]:
        *features, smallest = super().forward(image)
        return [*features, self.norm(smallest)]


def test_a_batch_that_is_too_small_for_a_batch_norm_is_refused(tmp_path: Path) -> None:
    bcdseg.register("encoder", "normed")(Normed)
    model = bcdseg.create("normed", classes=CLASSES, size=32)
    with pytest.raises(errors.OptionError, match=r"batch_size=1: a batch norm .* Give 2 or more scans per device"):
        bcdseg.fit(model, TRAIN, VAL, out=tmp_path / "run", **{**QUICK, "batch_size": 1})


def test_forms_of_items_give_the_same_run(tmp_path: Path) -> None:
    runs = []
    for form in ("mapping", "tuple"):
        parts = (Arrays(range(4), form), Arrays(range(4, 6), form))
        runs.append(bcdseg.fit(_model(), *parts, out=tmp_path / form, **QUICK))
    rows = [[{**row, "seconds": 0} for row in run.history] for run in runs]
    assert rows[0] == rows[1]
    assert "train,0,normal,0,patient 0" in (tmp_path / "mapping" / "seen.csv").read_text()


def _items(*items: Any) -> list[Any]:
    return list(items)


PIXELS, MASK = scan(0)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"mask": MASK}, r"train\[0\]: is dict without an image: return a mapping with the keys image, mask, label, group"),
        ((PIXELS,), r"train\[0\]: is a tuple of 1"),
        ((PIXELS, 1), r"train\[0\]: its mask is the number 1: a tuple is image, mask, label, group"),
        ((PIXELS, MASK, 3), r"train\[0\]: its label is 3: give the name of a class, a number from 0 to 2 \(normal, benign"),
    ],
)
def test_items_of_other_forms_are_refused(item: Any, message: str) -> None:
    with pytest.raises(errors.DatasetError, match=message):
        bcdseg.fit(_model(), _items(item), VAL)


def test_the_error_of_an_image_names_the_data_set() -> None:
    with pytest.raises(errors.ImageError, match=r"list \(val\) row 1 image: contains \d+ NaN"):
        as_dataset(_items((PIXELS, MASK), (PIXELS + np.nan, MASK)), "val", CLASSES)


def test_objects_other_than_data_sets_are_refused() -> None:
    for part in (3, "Dataset_BUSI_with_GT"):
        with pytest.raises(errors.OptionError, match=rf"train={part!r}: give a data set"):
            bcdseg.fit(_model(), part, VAL)  # type: ignore[arg-type]
    tables: list[Any] = [{"image": [PIXELS]}, pandas.DataFrame({"image": ["a.png"]})]
    for table in tables:
        with pytest.raises(errors.OptionError, match=r"is a table: open it with bcdseg\.open_dataset"):
            bcdseg.fit(_model(), TRAIN, table)
    with pytest.raises(errors.DatasetError, match="train: list has no items"):
        bcdseg.fit(_model(), [], VAL)


class Numbered(Arrays):
    """Data set whose labels number classes in an order of their own."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(range(4))
        self.classes = tuple(classes)

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        return {**item, "label": self.classes.index(item["label"])}


def test_labels_of_a_subset_number_the_classes_of_its_data_set() -> None:
    subset, joined = torch.utils.data.Subset, torch.utils.data.ConcatDataset
    one, other = Numbered(("benign", "malignant", "normal")), Numbered(CLASSES)
    labels = [label for _, label in one.scans]
    assert [sample.label for sample in as_dataset(subset(one, [0, 1, 2]), "train", CLASSES)] == labels[:3]
    assert [sample.label for sample in as_dataset(joined([subset(one, [3, 4]), one]), "train", CLASSES)] == [*labels[3:5], *labels]
    with pytest.raises(errors.DatasetError, match=r"train: its data sets have different classes.*Give labels as names"):
        as_dataset(joined([one, other]), "train", CLASSES)


def test_parts_that_share_a_group_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.LeakError, match="the group 'patient 4'"):
        bcdseg.fit(_model(), Arrays(range(5)), VAL, out=tmp_path / "run", **QUICK)


@pytest.mark.parametrize("label", [2, np.int64(3), 5])
def test_numbers_as_labels_of_classes_named_by_numbers_are_refused(label: Any) -> None:
    categories = ("2", "3", "4", "5")
    with pytest.raises(errors.DatasetError, match=rf"train\[0\]: its label is the number {label}, .* as a text, '{label}'"):
        as_dataset(_items((PIXELS, MASK, label)), "train", categories)
    assert as_dataset(_items((PIXELS, MASK, str(label))), "train", categories)[0].label == str(label)
    assert as_dataset(_items((PIXELS, MASK, 1)), "train", ("0", "1"))[0].label == "1"
