"""Steps of a training run, from its plan to its files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback
from torch.utils.data import DataLoader

from bcdseg import __version__
from bcdseg.data.dataset import Dataset
from bcdseg.data.grouping import check_disjoint
from bcdseg.data.labels import match_spellings
from bcdseg.errors import OptionError
from bcdseg.evaluation.site import fit_class_rules, keep_rules
from bcdseg.evaluation.training_overlap import remember_scans
from bcdseg.inference.out_of_distribution import describe_training_images
from bcdseg.inference.rules import site_rules
from bcdseg.model.model import Model
from bcdseg.model.registry import joint_training_overlap, load_model
from bcdseg.runtimes.device import choose_device
from bcdseg.terminal import make_console
from bcdseg.training import run as folders
from bcdseg.training.config import FitConfig
from bcdseg.training.custom import Custom, check_custom
from bcdseg.training.data.loaders import Batch, free_cache_space, set_epoch, training_loader, validation_loader
from bcdseg.training.data.sampling import class_weights
from bcdseg.training.finetune import INHERITED
from bcdseg.training.loop.processes import (
    from_first,
    is_first,
    keep_freed_memory,
    preserve_global_state,
    silence_lightning,
    synchronise,
    translate_errors,
)
from bcdseg.training.loop.task import SegmentationClassificationTask, build_optimizer
from bcdseg.training.loop.trainer import CheckpointCallback, ProgressCallback, build_trainer, read_checkpoint
from bcdseg.training.pictures import pictures
from bcdseg.training.plan import TrainingPlan, make_plan
from bcdseg.training.run import BEST, CONFIG, LAST, MODEL, Run, best_epoch, is_finished

History = list[dict[str, float]]
PACKAGES = ("torch", "pytorch-lightning", "segmentation-models-pytorch", "timm", "monai", "albumentations")
FIGURES = {
    "val_dice": "Dice of lesions",
    "val_clean": "scans without a lesion in which nothing is outlined",
    "val_balanced_accuracy": "balanced accuracy",
    "joint": "joint score",
}


def train_model(
    model: Model,
    train: Dataset,
    val: Dataset,
    *,
    out: Path | None,
    config: FitConfig | None,
    custom: Custom,
    teacher: Model | None,
    resume: bool,
    notes: Mapping[str, bytes] = MappingProxyType({}),
) -> Run:
    """Train a model as ``fit`` does; ``notes`` are files to write into a new run's folder before it starts."""
    check_custom(custom)
    custom = replace(custom, teacher=teacher)
    train = match_spellings(train, model.classes, model.name)
    val = match_spellings(val, (*model.classes, *(name for name in train.classes if name not in model.classes)), train.name)
    existing = out if resume and out is not None and (out / CONFIG).is_file() else None
    if existing is not None:
        config = folders.config_to_resume(existing, config)
        folders.check_same_scans(existing, train, val)
        custom.check_resumes(existing)
    plan = make_plan(model, train, val, config or FitConfig(), custom=custom, teacher=teacher)
    with preserve_global_state(), silence_lightning(), keep_freed_memory():
        start = folders.files_at_start(plan.train, plan.val, custom, notes) if is_first() else {}
        folder = existing or _new_folder(plan, out, start)
        last = None if existing is None else _last_checkpoint(existing, plan)
        history: History = [] if last is None else folders.with_seconds(last["history"], folder)
        if is_finished(history, plan.config) or (folder / MODEL).exists():  # a callback may have stopped it
            plan.report(f"The run in {folder} is finished.")
        else:
            train_to_the_end = _prepared(plan, folder, epochs_done=len(history), is_new=existing is None)
            if existing is None and is_first():
                folders.write_start(folder, start, plan.config)
            plan.report(f"Resuming after epoch {len(history)}, in {folder}" if history else f"Written to {folder}")
            history = train_to_the_end()
        return _finish(plan, folder, history)


def _new_folder(plan: TrainingPlan, out: Path | None, start: Mapping[str, bytes]) -> Path:
    """Create the folder of a new run, in the first process only and after its checks; the others don't need it yet."""
    if not is_first():
        return out or folders.RUNS
    check_disjoint(train=plan.train, val=plan.val)
    folder = folders.new_folder(out, plan.model.network.config.encoder, start)
    folders.check_space(folder, plan.model.network)
    return folder


def _last_checkpoint(folder: Path, plan: TrainingPlan) -> dict[str, Any] | None:
    """Return the last checkpoint of a resumed run; None when it was stopped before the first."""
    if not (folder / LAST).exists():
        return None
    checkpoint = read_checkpoint(folder / LAST)
    other = [
        f"{name}={plan.description[part].get(name)!r} ({value!r} there)"
        for part, values in checkpoint["facts"].items()
        for name, value in values.items()
        if plan.description[part].get(name) != value
    ]
    if other:
        raise OptionError(f"{folder}: the run started from another model: {', '.join(other)}. Give the model that it started from.")
    return checkpoint


def _prepared(plan: TrainingPlan, folder: Path, *, epochs_done: int, is_new: bool) -> Callable[[], History]:
    """Prepare training, so that errors are raised before anything is written; a new folder is removed again on failure."""
    try:
        return _training(plan, folder, epochs_done)
    except BaseException:
        if is_new and is_first():
            with suppress(OSError):
                folder.rmdir()
        raise


def _training(plan: TrainingPlan, folder: Path, epochs_done: int) -> Callable[[], History]:
    """Return the function that trains to the end and returns the history; the weights are in the checkpoints."""
    config = plan.config
    trainer = build_trainer(config, folder, _callbacks(plan, folder), plan.custom.loggers)
    loader, val_loader = _loaders(plan, trainer.world_size, trainer.global_rank)
    free_cache_space((loader, val_loader), config)
    set_epoch(loader, epochs_done)  # Lightning starts the first iteration before its epoch-start hook
    trainer.callbacks.insert(0, LambdaCallback(on_train_epoch_start=lambda _, task: set_epoch(loader, task.epoch)))
    network = plan.network()
    if trainer.world_size > 1:
        synchronise(network, choose_device(config.device))
    classes = plan.model.classes
    task = (plan.custom.task or SegmentationClassificationTask)(
        network,
        config,
        class_weights=class_weights(plan.train, classes) if config.balance == "weight" and classes else None,
        steps_per_epoch=-(-len(loader) // config.accumulate),
        teacher=plan.teacher,
        loss=plan.custom.loss,
        optimizer=plan.custom.optimizer,
    )
    if plan.custom.optimizer is not None:
        build_optimizer(network, task.loss, config, plan.custom.optimizer)  # its errors come before anything is written
    if config.compile:
        network.compile()

    def train() -> History:
        torch.set_flush_denormal(True)  # denormal numbers are slow on a CPU and don't matter
        torch.manual_seed(config.seed)
        with translate_errors(folder, config):
            trainer.fit(task, loader, val_loader, ckpt_path=folder / LAST if epochs_done else None, weights_only=True)
        return task.history

    return train


def _loaders(plan: TrainingPlan, world: int, rank: int) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    model = plan.model
    shared: dict[str, Any] = {
        "preprocessing": model.preprocessing,
        "classes": model.classes,
        "no_lesion": model.no_lesion,
        "config": plan.config,
        "world": world,
        "rank": rank,
    }
    return training_loader(plan.train, augment=plan.custom.augment, **shared), validation_loader(plan.val, **shared)


def _callbacks(plan: TrainingPlan, folder: Path) -> list[Callback]:
    shown = [ProgressCallback(make_console(stderr=True))] if plan.config.progress and is_first() else []
    drawn = pictures(folder, plan.model.classes) if plan.config.pictures else []
    return [*shown, *drawn, *plan.custom.callbacks, CheckpointCallback(folder, plan.description)]


def _finish(plan: TrainingPlan, folder: Path, history: History) -> Run:
    """Return the finished run in all processes; the first one writes the trained model."""
    folder, history = from_first((folder, history))
    best = best_epoch(history)
    if is_first() and not (folder / MODEL).exists():
        trained = _best_model(plan, folder, history)
        _with_rules(plan, trained).save(folder / MODEL)
    from_first(None)  # the others wait until it is written
    return Run(
        model=load_model(folder / MODEL, name=folder.name, device=plan.model.device),
        folder=folder,
        history=tuple(history),
        config=plan.config,
        best_epoch=best,
        best_score=history[best - 1]["joint"],
    )


def _with_rules(plan: TrainingPlan, trained: Model) -> Model:
    """Fit temperature and confidence threshold if requested, and report the rules of the initial model that are kept or removed."""
    start = plan.model.name
    if plan.config.calibrate:
        fitted, changes = fit_class_rules(trained, plan.val, started_from=start)
    else:
        fitted, changes = keep_rules(trained, started_from=start)
    for change in changes:
        plan.report(str(change))
    if removed := site_rules(plan.model.rules):
        plan.report(f"Removed: {', '.join(removed)} of {start}, which bcdseg.fit_site can choose for the new weights.")
    return fitted


def _best_model(plan: TrainingPlan, folder: Path, history: History) -> Model:
    """Return a copy of the initial model with the weights of the best epoch, and without what was measured of the old weights."""
    network = copy.deepcopy(plan.model.network)
    state = read_checkpoint(folder / BEST)["state_dict"]
    own = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
    network.load_state_dict(own)
    record = training_record(plan, history, best_epoch(history))
    rules = replace(
        plan.model.rules,
        class_offsets=(),
        operating_points=(),
        conformal_coverage=None,
        conformal_thresholds=(),
        training_images=(*plan.model.rules.training_images, *describe_training_images(plan.train)),
    )
    return Model(network.eval(), plan.model.preprocessing, rules, training=record, name=folder.name, device=plan.model.device)


def training_record(plan: TrainingPlan, history: Sequence[Mapping[str, float]], best: int) -> dict[str, Any]:
    """Return the record of a run whose best epoch is known, of JSON types only, and without the name of any scan."""
    row, config, start = history[best - 1], plan.config, plan.model
    changed = ", ".join(f"{name}={value!r}" for name, value in config.changed().items())
    return {
        "summary": f"Trained with bcdseg {__version__} on {plan.train.name}.",
        "data": {"training": f"{plan.train.name}: {plan.train_counts}", "validation": f"{plan.val.name}: {plan.val_counts}"},
        "method": {
            "started from": start.name,
            "options that differ from the defaults": changed or "none",
            **{f"own {option}": name for option, name in plan.custom.description.items()},
            "epochs": f"{len(history)} of {config.epochs}; the weights are those of epoch {best}",
            "calibration": "temperature and confidence threshold, if the validation scans suffice" if config.calibrate else "none",
            "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        },
        "measured on": "The validation scans, at the network's size. They chose the epoch, so the figures are too good for others.",
        "figures": {f"{name} (validation)": f"{value:.3f}" for name, value in figures(row).items()},
        **({"limits": list(plan.limits)} if plan.limits else {}),
        **{name: start.training[name] for name in INHERITED if name in start.training},
        "seen": joint_training_overlap([start], also=remember_scans(plan.train, plan.val, validation=plan.val)),
    }


def figures(row: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of an epoch under readable names."""
    return {name: row[key] for key, name in FIGURES.items() if key in row}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
