"""Steps of a training run, from its plan to its files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback
from torch.utils.data import DataLoader

from bcdseg.data.dataset import Dataset
from bcdseg.data.leakage import check_disjoint
from bcdseg.errors import OptionError
from bcdseg.evaluation.calibrate import calibrate
from bcdseg.model.loading import load_model
from bcdseg.model.model import Model
from bcdseg.runtimes.torch_runtime import choose_device
from bcdseg.terminal import make_console
from bcdseg.training import run as folders
from bcdseg.training.config import FitConfig
from bcdseg.training.data.loaders import Batch, make_room, set_epoch, training_loader, validation_loader
from bcdseg.training.loop.callbacks import CheckpointCallback, ProgressCallback, read_checkpoint
from bcdseg.training.loop.distributed import from_first, is_first, synchronise
from bcdseg.training.loop.global_state import as_it_was, clear_errors, freed_memory_kept, quietly
from bcdseg.training.loop.task import SegmentationClassificationTask
from bcdseg.training.loop.trainer_factory import build_trainer
from bcdseg.training.pictures import pictures
from bcdseg.training.plan import TrainingPlan, make_plan
from bcdseg.training.run import BEST, CONFIG, LAST, MODEL, Run, best_epoch, is_finished
from bcdseg.training.training_metadata import training_record

History = list[dict[str, float]]


def train_model(
    model: Model,
    train: Dataset,
    val: Dataset,
    *,
    out: Path | None,
    config: FitConfig | None,
    augment: Any,
    teacher: Model | None,
    resume: bool,
    notes: Mapping[str, bytes] = MappingProxyType({}),
) -> Run:
    """Train a model as ``fit`` does; ``notes`` are files to write into a new run's folder before it starts."""
    there = out if resume and out is not None and (out / CONFIG).is_file() else None
    if there is not None:
        config = folders.config_to_go_on_with(there, config)
        folders.check_same_scans(there, train, val)
    plan = make_plan(model, train, val, config or FitConfig(), augment=augment, teacher=teacher)
    with as_it_was(), quietly(), freed_memory_kept():
        folder = there or _new_folder(plan, out)
        last = None if there is None else _last(there, plan)
        history: History = [] if last is None else last["history"]
        if is_finished(history, plan.config):
            plan.say(f"The run in {folder} is finished.")
        else:
            train_to_the_end = _made_ready(plan, folder, epochs_done=len(history), is_new=there is None)
            if there is None and is_first():
                folders.write_beginning(folder, plan.config, plan.train, plan.val, notes)
            plan.say(f"Going on after epoch {len(history)}, in {folder}" if history else f"Written to {folder}")
            history = train_to_the_end()
        return _finish(plan, folder, history)


def _new_folder(plan: TrainingPlan, out: Path | None) -> Path:
    """Create the folder of a new run, in the first process only and after its checks; the others don't need it yet."""
    if not is_first():
        return out or folders.RUNS
    check_disjoint(train=plan.train, val=plan.val)
    folder = folders.new_folder(out, plan.model.network.config.encoder)
    folders.check_space(folder, plan.model.network)
    return folder


def _last(folder: Path, plan: TrainingPlan) -> dict[str, Any] | None:
    """Return the last checkpoint of a resumed run; None when it was stopped before the first."""
    if not (folder / LAST).exists():
        return None
    checkpoint = read_checkpoint(folder / LAST)
    other = [
        f"{name}={plan.facts[part].get(name)!r} ({value!r} there)"
        for part, values in checkpoint["facts"].items()
        for name, value in values.items()
        if plan.facts[part].get(name) != value
    ]
    if other:
        raise OptionError(f"{folder}: the run trains another network: {', '.join(other)}. Give the model that it started from.")
    return checkpoint


def _made_ready(plan: TrainingPlan, folder: Path, *, epochs_done: int, is_new: bool) -> Callable[[], History]:
    """Prepare training, so that errors are raised before anything is written; a new folder is removed again on failure."""
    try:
        return _ready(plan, folder, epochs_done)
    except BaseException:
        if is_new and is_first():
            with suppress(OSError):
                folder.rmdir()
        raise


def _ready(plan: TrainingPlan, folder: Path, epochs_done: int) -> Callable[[], History]:
    """Return the function that trains to the end and returns the history; the weights are in the checkpoints."""
    config = plan.config
    trainer = build_trainer(config, folder, _callbacks(plan, folder))
    loader, val_loader = _loaders(plan, trainer.world_size, trainer.global_rank)
    make_room((loader, val_loader), config)
    set_epoch(loader, epochs_done)  # Lightning starts the first iteration before its epoch-start hook
    trainer.callbacks.insert(0, LambdaCallback(on_train_epoch_start=lambda _, task: set_epoch(loader, task.epoch)))
    network = plan.network()
    if trainer.world_size > 1:
        synchronise(network, choose_device(config.device))
    steps = -(-len(loader) // config.accumulate)
    task = SegmentationClassificationTask(network, plan.loss(), config, steps_an_epoch=steps, teacher=plan.teacher)
    if config.compile:
        network.compile()

    def train() -> History:
        torch.set_flush_denormal(True)  # denormal numbers are slow on a CPU and don't matter
        torch.manual_seed(config.seed)
        with clear_errors(folder, config):
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
    return training_loader(plan.train, augment=plan.augment, **shared), validation_loader(plan.val, **shared)


def _callbacks(plan: TrainingPlan, folder: Path) -> list[Callback]:
    shown = [ProgressCallback(make_console(stderr=True))] if plan.config.progress and is_first() else []
    drawn = pictures(folder, plan.model.classes) if plan.config.pictures else []
    return [*shown, *drawn, CheckpointCallback(folder, plan.facts)]


def _finish(plan: TrainingPlan, folder: Path, history: History) -> Run:
    """Return the finished run in all processes; the first one writes the trained model."""
    folder, history = from_first((folder, history))
    best = best_epoch(history)
    if is_first() and not (folder / MODEL).exists():
        trained = _best_model(plan, folder, history)
        (calibrate(trained, plan.val) if plan.config.calibrate else trained).save(folder / MODEL)
    from_first(None)  # the others wait until it is written
    return Run(
        model=load_model(folder / MODEL, name=folder.name, device=plan.model.device),
        folder=folder,
        history=tuple(history),
        config=plan.config,
        best_epoch=best,
        best_score=history[best - 1]["joint"],
    )


def _best_model(plan: TrainingPlan, folder: Path, history: History) -> Model:
    """Return a copy of the initial model with the weights of the best epoch."""
    network = copy.deepcopy(plan.model.network)
    state = read_checkpoint(folder / BEST)["state_dict"]
    own = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
    network.load_state_dict(own)
    record = training_record(plan, history, best_epoch(history))
    return Model(network.eval(), plan.model.preprocessing, training=record, name=folder.name, device=plan.model.device)
