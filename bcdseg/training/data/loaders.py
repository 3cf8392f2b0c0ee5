"""Data loaders for training and validation."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from bcdseg.data.dataset import Dataset
from bcdseg.data.labels import check_labels
from bcdseg.data.masks import has_mask
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.errors import BcdsegError, DatasetError, OptionError
from bcdseg.runtimes.device import choose_device
from bcdseg.training.config import FitConfig
from bcdseg.training.data import cache, sampling
from bcdseg.training.data.sampling import Draw, SampledStep
from bcdseg.training.data.transforms import (
    AlbumentationsStep,
    Changes,
    augmentation,
    finishing,
    plain_errors,
    preparation,
    try_out,
)
from bcdseg.training.losses import NO_LABEL, Truth


@dataclass(frozen=True)
class Batch:
    """Batch of scans and their ground truth.

    Attributes:
        image: Preprocessed scans, batch x channels x height x width, float32.
        truth: Masks and labels. Labels may also be soft (batch x classes, after MixUp); see ``Truth``.
        ids: Ids of the samples, for messages and for gathering the scans of several processes.
    """

    image: Tensor
    truth: Truth
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """Return the batch on another device."""
        truth = replace(
            self.truth, **{name: value.to(device, non_blocking=non_blocking) for name, value in vars(self.truth).items()}
        )
        return Batch(self.image.to(device, non_blocking=non_blocking), truth, self.ids)

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, for asynchronous copies to a GPU; the loader calls this method."""
        truth = replace(self.truth, **{name: value.pin_memory() for name, value in vars(self.truth).items()})
        return Batch(self.image.pin_memory(), truth, self.ids)


TRAINING_PART = 0.8
"""Fraction of ``cache_gb`` for training scans; validation has the rest."""
MOST_WORKERS = 8
CORES_A_WORKER = 8
"""Cores per worker when the network runs on the CPU.

A step takes so long there that one worker prepares scans fast enough for as many cores; with fewer cores none is needed.
A fork has a cost too: the network's process then copies every page that it writes to.
"""
BatchOrError = Batch | BcdsegError


def training_loader(
    dataset: Dataset,
    *,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    no_lesion: str | None,
    config: FitConfig,
    augment: Any = None,
    world: int = 1,
    rank: int = 0,
) -> DataLoader[Batch]:
    """Create the loader of shuffled, augmented and possibly mixed batches; call ``set_epoch`` before each epoch.

    Order, augmentation and mixing depend on seed, epoch and position alone: any number of workers or processes gives the same.

    Args:
        dataset: The samples.
        preprocessing: Preprocessing of the model.
        classes: Classes of the model, in its order; empty for a model that only segments, for which labels are ignored.
        no_lesion: The negative class, whose scans have an empty mask when they have no mask file.
        config: The options.
        augment: An albumentations or MONAI ``Compose`` in place of ``config.augment``.
        world: Number of processes that train together.
        rank: Rank of this process.
    """
    _check_sizes(preprocessing, config.batch_size, len(dataset), world)
    changes = augmentation(config.augment if augment is None else augment, preprocessing)
    scans = Scans(dataset, preprocessing, tuple(classes), no_lesion, changes, config, TRAINING_PART)
    if augment is not None and changes is not None:
        try_out(changes, scans.prepared[0], preprocessing, dataset[0].id)
    order = sampling.balanced(scans.labels, config.seed) if config.balance == "sample" else None
    batches = sampling.Batches(
        order or sampling.shuffled(len(dataset), config.seed),
        len(dataset),
        config.batch_size,
        world=world,
        rank=rank,
        pairing=None if config.mix == "none" else sampling.pairing(scans.known, share=config.mix_share, seed=config.seed),
    )
    return _loader(scans, batches, config)


def validation_loader(
    dataset: Dataset,
    *,
    preprocessing: Preprocessing,
    classes: Sequence[str],
    no_lesion: str | None,
    config: FitConfig,
    world: int = 1,
    rank: int = 0,
) -> DataLoader[Batch]:
    """Create the loader that yields each scan once over all processes, in order, exactly as ``preprocessing`` prepares it.

    The arguments are those of ``training_loader``. Scans that keep their own size form batches of one.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.name}: has no samples to validate on.")
    scans = Scans(dataset, preprocessing, tuple(classes), no_lesion, None, config, 1 - TRAINING_PART)
    size = world if preprocessing.resize == "none" else config.batch_size
    return _loader(scans, sampling.in_order(len(dataset), size, world=world, rank=rank), config)


def set_epoch(loader: DataLoader[Batch], epoch: int) -> None:
    """Set the epoch of the next iteration; validation is the same in each."""
    if isinstance(loader.batch_sampler, sampling.Batches):
        loader.batch_sampler.epoch = epoch


def free_cache_space(loaders: Sequence[DataLoader[Batch]], config: FitConfig) -> None:
    """Remove other runs' scans from the cache on disk until those of all these loaders fit into ``cache_gb``."""
    scans = [loader.dataset for loader in loaders]
    cache.free_space([one.cache for one in scans if isinstance(one, Scans)], config.cache_gb * 1e9)


class Scans(TorchDataset[BatchOrError]):
    """Data set whose items are the batches of ``SampledStep``."""

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing,
        classes: tuple[str, ...],
        no_lesion: str | None,
        changes: Changes | None,
        config: FitConfig,
        cache_part: float,
    ) -> None:
        self.ids = dataset.ids
        self.classes = classes
        self.config = config
        self.labels = _labels(dataset, classes)
        self.has_mask = [has_mask(sample, no_lesion) for sample in dataset]
        self.known = [(mask, label != NO_LABEL) for mask, label in zip(self.has_mask, self.labels, strict=True)]
        self.prepared, self.cache = _prepared(dataset, preprocessing, config, cache_part)
        self.changes = changes
        self.finish = finishing(preprocessing, changes)

    def start(self) -> None:
        """Prepare a process that loads scans; each calls this once."""
        if isinstance(self.changes, AlbumentationsStep):
            self.changes.start()

    def __getitems__(self, step: SampledStep) -> BatchOrError:
        """Return the batch of a step, or its error, because one raised in a worker would arrive as a traceback in a string."""
        try:
            return self._batch(step)
        except BcdsegError as error:
            return error

    def _batch(self, step: SampledStep) -> Batch:
        drawn = {draw: self._item(draw, step.epoch) for draw in {*step.draws, *(step.partners or ())}}
        image, truth = self._stacked(step.draws, drawn)
        if step.partners:
            other = self._stacked(step.partners, drawn)
            at = (step.epoch, step.number)
            image, truth = sampling.mixed(self.config.mix, (image, truth), other, len(self.classes), seed=self.config.seed, at=at)
        return Batch(image, truth, tuple(self.ids[draw.sample] for draw in step.draws))

    def _item(self, draw: Draw, epoch: int) -> dict[str, Tensor]:
        with plain_errors():
            item = self.prepared[draw.sample]
            if self.changes is not None:
                self.changes.set_random_state(seed=_seed(self.config.seed, epoch, draw.place))
            finished: dict[str, Tensor] = self.finish(item)
            return finished

    def _stacked(self, draws: Sequence[Draw], drawn: dict[Draw, dict[str, Tensor]]) -> tuple[Tensor, Truth]:
        image, mask = (torch.stack([drawn[draw][key] for draw in draws]) for key in ("image", "mask"))
        has_mask = torch.tensor([self.has_mask[draw.sample] for draw in draws])
        return image, Truth(mask, has_mask, torch.tensor([self.labels[draw.sample] for draw in draws]))


class Loader(DataLoader[Any]):
    """Data loader that raises a worker's error unchanged."""

    def __iter__(self) -> Any:
        with warnings.catch_warnings():
            # Python 3.12 and later warn of a fork when there are threads. The forked workers only prepare scans, in one thread.
            warnings.filterwarnings("ignore", r".*use of fork\(\) may lead to deadlocks", DeprecationWarning)
            batches = super().__iter__()
        for batch in batches:
            if isinstance(batch, BcdsegError):
                raise batch
            yield batch


def workers(config: FitConfig) -> int:
    """Return the number of data loader workers: the configured one, or the number that is useful for each training process."""
    if config.workers is not None:
        return config.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = cores // config.devices
    return max(0, min(MOST_WORKERS, own // CORES_A_WORKER if choose_device(config.device) == "cpu" else own - 1))


def start_method() -> str:
    """Return the start method of the workers: the one that the program has chosen, else fork where it is safe.

    A forked worker starts immediately, shares the memory of the cache, and needs no ``if __name__ == "__main__"`` in the script.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)  # without allow_none the call would choose for the whole program
    return chosen or ("fork" if sys.platform == "linux" else "spawn")


def _loader(scans: Scans, steps: Any, config: FitConfig) -> DataLoader[Batch]:
    count = workers(config)
    if count == 0:
        scans.start()
    return Loader(
        scans,
        batch_sampler=steps,
        num_workers=count,
        multiprocessing_context=start_method() if count else None,
        persistent_workers=count > 0,
        collate_fn=_as_it_is,
        pin_memory=config.device in ("auto", "cuda") and torch.cuda.is_available(),
        worker_init_fn=_start,
    )


def _prepared(
    dataset: Dataset, preprocessing: Preprocessing, config: FitConfig, part: float
) -> tuple[CacheDataset, cache.ScanCache | None]:
    items = [{"sample": sample} for sample in dataset]
    prepare = preparation(dataset, preprocessing)
    with plain_errors():
        first = prepare(items[0])["image"]
    made = cache.make_cache(
        config.cache,
        dataset.samples,
        preprocessing,
        first=first,
        resize_masks=dataset.resize_masks,
        gigabytes=config.cache_gb * part,
        sharers=config.devices * (1 if start_method() == "fork" else max(1, workers(config))),
    )
    places = 0 if made is None else len(made)
    return CacheDataset(items, prepare, cache_num=places, copy_cache=False, progress=False, runtime_cache=made or False), made


def _labels(dataset: Dataset, classes: tuple[str, ...]) -> list[int]:
    if not classes:
        return [NO_LABEL] * len(dataset)
    check_labels(dataset, classes, dataset.name)
    return [NO_LABEL if sample.label is None else classes.index(sample.label) for sample in dataset]


def _check_sizes(preprocessing: Preprocessing, batch_size: int, count: int, world: int) -> None:
    if not count:
        raise DatasetError("There are no samples to train on.")
    if min(batch_size, count) < world:
        raise OptionError(f"{min(batch_size, count)} scans a batch can't be divided among {world} processes: use fewer devices.")
    if preprocessing.resize == "none" and batch_size != world:
        raise OptionError(
            f"batch_size={batch_size}: this model takes each scan at its own size, and scans of several sizes make no batch. "
            f"Train with batch_size={world}, or make a model with resize='fit' or 'stretch'."
        )


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _as_it_is(batch: Any) -> Any:
    return batch


def _start(_worker: int) -> None:
    worker = get_worker_info()
    if worker is not None:
        worker.dataset.start()  # type: ignore[attr-defined]
