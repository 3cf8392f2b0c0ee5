"""Training runs of the table of the field: recipe, data, way of splitting and seed, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

import bcdseg
from bcdseg.training.recipes import MASK, Recipe

RANDOM, GROUPED = "random", "grouped"
WAYS = (RANDOM, GROUPED)
BUSI, MAMMOGRAMS = "busi256", "mias150"
OTHER_HOSPITALS = ("bus_bra", "bus_uclm")
SEEDS = 5
WITHOUT_IMAGENET = "random, because ImageNet weights could not be had"


@dataclass(frozen=True)
class Entry:
    """One recipe of the field.

    Attributes:
        recipe: Name of its bare form.
        claimed: Accuracy that is claimed for such systems, None where no figure is known.
        epochs: Epochs that two CPU cores can run here; at most those of the recipe.
        depthwise: Whether most of its convolutions are depthwise: these are slower in bf16.
        data: Data set that it is trained on.
    """

    recipe: str
    claimed: float | None
    epochs: int
    depthwise: bool = False
    data: str = BUSI

    @property
    def precision(self) -> str:
        """Fastest precision on this machine: bf16 where the CPU multiplies matrices in it (AMX), else 32."""
        return "bf16" if torch.cpu.get_capabilities().get("amx_bf16") and not self.depthwise else "32"


FIELD = (
    Entry("cnn-3class", 0.98, 60),
    Entry("cnn-binary", None, 50),
    Entry("mobilenetv2-binary", None, 30, data=MAMMOGRAMS),
    Entry("resnet50-3class", None, 15),
    Entry("vgg16-binary", 0.85, 5),
    Entry("default", None, 20, depthwise=True),
    Entry("densenet121-3class", None, 10),
    Entry("efficientnet-3class", None, 10, depthwise=True),
    Entry("unet-3class", None, 20),
)
"""The five systems that the library is measured against, then its own recipe and those that the authors name as future work."""

FIRST = (
    ("cnn-3class", 0),
    ("cnn-3class+mask", 0),
    ("cnn-binary", 0),
    ("mobilenetv2-binary", 0),
    ("cnn-3class", 1),
    ("cnn-binary+mask", 0),
    ("cnn-3class", 2),
    ("resnet50-3class", 0),
    ("vgg16-binary", 0),
    ("default", 0),
    ("cnn-3class+mask", 1),
)
"""Recipe and seed of the cheapest and most informative runs, which are run before all others."""


@dataclass(frozen=True)
class RunPlan:
    """One training run.

    Attributes:
        recipe: Name of the recipe, with ``+mask`` where a decoder is added.
        data: Data set that it is trained on, and tested on by a part that is held back.
        way: ``random``: scans are split at random; ``grouped``: patients and near-duplicates stay together.
        seed: Seed of the split, the weights and the training.
    """

    recipe: str
    data: str
    way: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's files."""
        return f"{self.recipe}-{self.data}-{self.way}-{self.seed}"

    @property
    def entry(self) -> Entry:
        """The recipe's row of the table."""
        return next(one for one in FIELD if one.recipe == self.recipe.removesuffix(MASK))


def all_runs(seeds: int = SEEDS) -> list[RunPlan]:
    """Return every run, in the order in which they are run: ``FIRST``, then the other recipes and seeds."""
    pairs = dict.fromkeys([*(pair for pair in FIRST if pair[1] < seeds), *_others(seeds)])
    return [RunPlan(name, data_of(name), way, seed) for name, seed in pairs if name in _existing() for way in WAYS]


def data_of(recipe: str) -> str:
    """Return the data set that a recipe is trained on."""
    return next(one.data for one in FIELD if one.recipe == recipe.removesuffix(MASK))


def recipe_of(run: RunPlan, *, weights: bool) -> Recipe:
    """Return the recipe of a run, from random weights where those of ImageNet can't be had."""
    recipe = bcdseg.recipe(run.recipe)
    return recipe if weights else recipe.from_scratch()


def _others(seeds: int) -> Iterator[tuple[str, int]]:
    for seed in range(seeds):
        for form in ("", MASK):
            yield from ((one.recipe + form, seed) for one in FIELD if not (form and one.data == MAMMOGRAMS))  # they have no masks


def _existing() -> frozenset[str]:
    """Return the names of the recipes of this version of the library; a recipe with masks has no ``+mask`` form."""
    return frozenset(one.name for one in bcdseg.recipes())
