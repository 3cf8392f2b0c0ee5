"""A training run from its inputs to its files, step by step. What ``fit`` hands on to where Lightning may be imported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch.utils.data import DataLoader

from bcdseg.data.dataset import Dataset
from bcdseg.data.disjoint import check_disjoint
from bcdseg.errors import OptionError
from bcdseg.infer.torch_runtime import choose_device
from bcdseg.model.disk import load_model
from bcdseg.model.model import Model
from bcdseg.network.losses import JointLoss
from bcdseg.network.network import Network
from bcdseg.train import folder as folders
from bcdseg.train.batch import Batch
from bcdseg.train.checkpoint import Keeper, read_checkpoint
from bcdseg.train.clear_errors import clear_errors
from bcdseg.train.config import FitConfig
from bcdseg.train.inputs import Inputs, check_inputs
from bcdseg.train.loaders import set_epoch, training_loader, validation_loader
from bcdseg.train.machine import build_trainer, check_compiler
from bcdseg.train.optimize import freeze_encoder
from bcdseg.train.parallel import from_first
from bcdseg.train.progress import Show
from bcdseg.train.quiet import as_it_was, quietly
from bcdseg.train.record import training_record
from bcdseg.train.run import BEST, CONFIG, LAST, MODEL, Run, best_epoch, is_finished
from bcdseg.train.sampling import class_weights
from bcdseg.train.sync_norm import synchronise
from bcdseg.train.task import Task


def train_model(
    model: Model, train: Dataset, val: Dataset, *, out: Path | None, config: FitConfig | None, augment: Any, resume: bool
) -> Run:
    """See ``fit``."""
    goes_on = resume and out is not None and (out / CONFIG).is_file()
    if goes_on and out is not None:
        config = folders.config_to_go_on_with(out, config)
        folders.check_same_scans(out, train, val)
    config = config or FitConfig()
    say = _teller(config)
    if config.compile:
        check_compiler()
    seen = check_inputs(model, train, val)
    say(f"Training: {seen[0]}\nValidation: {seen[1]}{_not_learned(model, seen[0])}")
    with as_it_was(), quietly():
        folder = _begun(model, train, val, out, config, goes_on)
        last = _last(folder, model) if goes_on else None
        history = [] if last is None else last["history"]
        if is_finished(history, config):
            say(f"The run in {folder} is finished.")
        else:
            if last is not None:
                say(f"Going on after epoch {len(history)} of {config.epochs}, in {folder}")
            history = _trained(model, train, val, seen[0], folder, config, augment, len(history), resume=last is not None)
        return _finished(model, (train, val), seen, folder, config, history)


def _begun(model: Model, train: Dataset, val: Dataset, out: Path | None, config: FitConfig, goes_on: bool) -> Path:
    """The run's folder; the first process looks whether all is well before it makes one."""
    if rank_zero_only.rank != 0:
        return out or folders.RUNS
    check_disjoint(train=train, val=val)
    if goes_on and out is not None:
        return out
    folder = folders.new_folder(out, model.network.config.encoder)
    folders.check_space(folder, model.network)
    folders.write_beginning(folder, config, train, val)
    return folder


def _last(folder: Path, model: Model) -> dict[str, Any] | None:
    """The last checkpoint of a run that goes on; None when it was stopped before the first."""
    if not (folder / LAST).exists():
        return None
    checkpoint = read_checkpoint(folder / LAST)
    facts = _facts(model)
    other = [
        f"{name}={facts[part][name]!r} ({value!r} there)"
        for part, values in checkpoint["facts"].items()
        for name, value in values.items()
        if facts[part].get(name) != value
    ]
    if other:
        raise OptionError(f"{folder}: the run trains another network: {', '.join(other)}. Give the model it was begun with.")
    return checkpoint


def _facts(model: Model) -> dict[str, Any]:
    return {"network": asdict(model.network.config), "preprocessing": asdict(model.preprocessing)}


def _trained(
    model: Model,
    train: Dataset,
    val: Dataset,
    seen: Inputs,
    folder: Path,
    config: FitConfig,
    augment: Any,
    epochs_done: int,
    *,
    resume: bool,
) -> list[dict[str, float]]:
    """Train to the end; the checkpoints hold what came out."""
    trainer = build_trainer(config, folder, _callbacks(config, folder, model))
    network = _to_train(model.network, seen, config)
    if trainer.world_size > 1:
        synchronise(network, choose_device(config.device))
    shared: dict[str, Any] = {
        "preprocessing": model.preprocessing,
        "classes": model.classes,
        "no_lesion": model.no_lesion,
        "config": config,
        "world": trainer.world_size,
        "rank": trainer.global_rank,
    }
    loader: DataLoader[Batch] = training_loader(train, augment=augment, **shared)
    set_epoch(loader, epochs_done)  # Lightning begins the first iteration before it says that an epoch begins
    trainer.callbacks.insert(0, LambdaCallback(on_train_epoch_start=lambda _, task: set_epoch(loader, task.epoch)))
    task = Task(network, _loss(config, train, model), config, steps_an_epoch=-(-len(loader) // config.accumulate))
    if config.compile:
        network.compile()
    torch.set_flush_denormal(True)  # numbers too small to matter are slow on a CPU
    torch.manual_seed(config.seed)
    with clear_errors(folder, config):
        trainer.fit(task, loader, validation_loader(val, **shared), ckpt_path=folder / LAST if resume else None, weights_only=True)
    return task.history


def _to_train(network: Network, seen: Inputs, config: FitConfig) -> Network:
    """A copy in which a head that nothing is known for stays as it is, where weight decay would have eaten it."""
    network = copy.deepcopy(network).train().requires_grad_(True)
    freeze_encoder(network, config.freeze_encoder_epochs == -1)
    for head, known in ((network.mask_head, seen.masks), (network.class_head, seen.labels)):
        if head is not None and not known:
            head.requires_grad_(False)
    return network


def _loss(config: FitConfig, train: Dataset, model: Model) -> JointLoss:
    return JointLoss(
        mask_loss=config.mask_loss,
        class_loss=config.class_loss,
        label_smoothing=config.label_smoothing,
        task_weights=config.task_weights,
        mask_weight=config.mask_weight,
        class_weight=config.class_weight,
        class_weights=class_weights(train, model.classes) if config.balance == "weight" and model.classes else None,
    )


def _callbacks(config: FitConfig, folder: Path, model: Model) -> list[Callback]:
    return [*([Show(Console(stderr=True))] if _tells(config) else []), Keeper(folder, _facts(model))]


def _finished(
    model: Model, parts: tuple[Dataset, Dataset], seen: tuple[Inputs, Inputs], folder: Path, config: FitConfig, history: Any
) -> Run:
    """The trained model, written by the first process, and the same run in all of them."""
    folder, history = from_first((folder, tuple(history)))
    best = best_epoch(history)
    if rank_zero_only.rank == 0 and not (folder / MODEL).exists():
        trained = _with_weights(model, read_checkpoint(folder / BEST)["state_dict"], folder.name)
        inputs = zip(parts, seen, strict=True)
        trained.training = training_record(*inputs, start=model.name, config=config, history=history, best=best)
        trained.save(folder / MODEL)
    from_first(None)
    trained = load_model(folder / MODEL, name=folder.name, device=model.device)
    return Run(model=trained, folder=folder, history=history, config=config, best_epoch=best, best_score=history[best - 1]["joint"])


def _with_weights(model: Model, state: dict[str, Any], name: str) -> Model:
    network = copy.deepcopy(model.network)
    own = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
    network.load_state_dict(own)
    return Model(network.eval(), model.preprocessing, name=name, device=model.device)


def _not_learned(model: Model, seen: Inputs) -> str:
    """What the scans can't teach, as lines to add."""
    lines = []
    if model.network.mask_head is not None and not seen.masks:
        lines.append("No masks: the outlines are not trained, and mean no more than before.")
    if model.network.class_head is not None and not seen.labels:
        lines.append("No labels: the classes are not trained, and mean no more than before.")
    elif forgotten := [name for name in model.classes if name not in seen.classes]:
        lines.append(f"No scan of {', '.join(forgotten)}: the model will not call a scan that.")
    return "".join(f"\n{line}" for line in lines)


def _tells(config: FitConfig) -> bool:
    return config.progress and bool(rank_zero_only.rank == 0)


def _teller(config: FitConfig) -> Callable[[str], None]:
    console = Console(stderr=True, quiet=not _tells(config))
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
