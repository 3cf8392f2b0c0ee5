"""Options of a training run, and their form in YAML and TOML files and as ``key=value``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.messages import as_plain
from bcdseg.registry import CLASS_LOSSES, LOSSES, MASK_LOSSES, OPTIMIZERS

Augment = Literal["default", "light", "none", "flip-rotate-zoom", "shift-shear-zoom-flip"]
Mix = Literal["none", "mixup", "cutmix"]
Balance = Literal["none", "sample", "weight"]
Cache = Literal["auto", "memory", "disk", "none"]
TaskWeights = Literal["fixed", "learned"]
Schedule = Literal["cosine", "one_cycle", "plateau", "constant"]
Precision = Literal["auto", "32", "bf16", "fp16"]
Strategy = Literal["auto", "ddp"]
Device = Literal["auto", "cpu", "cuda", "mps"]
AUGMENT: tuple[str, ...] = get_args(Augment)
CHOICES: dict[str, tuple[str, ...]] = {
    "augment": AUGMENT,
    "mix": get_args(Mix),
    "balance": get_args(Balance),
    "cache": get_args(Cache),
    "loss": ("joint",),
    "mask_loss": ("dice_ce", "dice_focal", "tversky", "hausdorff"),
    "class_loss": ("ce", "focal"),
    "task_weights": get_args(TaskWeights),
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": get_args(Schedule),
    "precision": get_args(Precision),
    "strategy": get_args(Strategy),
    "device": get_args(Device),
}
OPEN = {one.kind: one for one in (LOSSES, MASK_LOSSES, CLASS_LOSSES, OPTIMIZERS)}
"""Options that are also names which others have registered. The library's own are registered when training starts."""

LOGGERS = ("tensorboard", "mlflow", "wandb")


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= least


def _number(good: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and good(value)


def _or_none(good: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or good(value)


def _logger_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(name in LOGGERS for name in value)


RULES: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("epochs", "batch_size", "accumulate", "devices", "nodes"), _whole(1), "give a whole number of 1 or more"),
    (("seed",), lambda value: _whole(0)(value) and value < 2**32, "give a whole number from 0 to 4294967295"),
    (("warmup_epochs",), _whole(0), "give a whole number of 0 or more"),
    (("workers",), _or_none(_whole(0)), "give a whole number of 0 or more, or None to choose by the machine"),
    (("patience",), _or_none(_whole(1)), "give a whole number of 1 or more, or None to train to the end"),
    (("freeze_encoder_epochs",), _whole(-1), "give a number of epochs, or -1 for all"),
    (("lr", "cache_gb"), _number(lambda value: value > 0), "give a number above 0"),
    (
        ("encoder_lr", "weight_decay", "mask_weight", "class_weight"),
        _number(lambda value: value >= 0),
        "give a number of 0 or more",
    ),
    (("label_smoothing", "momentum"), _number(lambda value: 0 <= value < 1), "give a number from 0 up to, not including, 1"),
    (("mix_share",), _number(lambda value: 0 <= value <= 1), "give a share from 0 to 1"),
    (("ema",), _or_none(_number(lambda value: 0 < value < 1)), "give a decay between 0 and 1, or None"),
    (("clip",), _or_none(_number(lambda value: value > 0)), "give a norm above 0, or None"),
    (
        ("deterministic", "calibrate", "channels_last", "compile", "pictures", "progress"),
        lambda value: isinstance(value, bool),
        "give True or False",
    ),
    (("loggers",), _logger_names, f"give a list of any of {', '.join(LOGGERS)}"),
)


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Options of ``bcdseg.fit`` and ``bcdseg train``; each run saves its own as ``config.toml``, without data and model.

    Attributes:
        epochs: Number of passes over the training scans.
        batch_size: Scans per step, over all devices together.
        seed: Seed of the order of scans, augmentation, mixing, dropout, and reinitialised heads; in ``bcdseg train`` and
            ``bcdseg.benchmark`` also of the weights of a new network, which ``bcdseg.create(seed=...)`` sets elsewhere.
        deterministic: Whether the same seed on the same machine must give a bit-identical result, at some cost in speed.
        augment: ``default``, ``light``, ``none``, or a classical set: ``flip-rotate-zoom``, ``shift-shear-zoom-flip``.
            ``fit(augment=...)`` also takes an albumentations or MONAI ``Compose``.
        mix: Mixing of pairs of scans, masks and labels: ``none``, ``mixup`` or ``cutmix``.
        mix_share: Fraction of the batches that are mixed.
        balance: Correction for class imbalance: ``sample`` draws each class equally often, ``weight`` weights the class loss by
            the square root of the inverse class frequency, ``none``.
        cache: Cache of decoded and resized scans: ``memory``, ``disk``, ``none``, or ``auto``: memory up to ``cache_gb``.
        cache_gb: Largest size of the cache in gigabytes.
        workers: Data loader processes; None chooses: none for a network on the CPU, else by the number of cores.
        loss: ``joint`` is the sum of the next two, on the ground truth that each scan has; or a registered name.
        mask_loss: ``dice_ce``, ``dice_focal``, ``tversky``, ``hausdorff``, or a registered name.
        class_loss: ``ce``, ``focal``, or a registered name.
        label_smoothing: Label smoothing of the class loss.
        task_weights: ``fixed`` uses the two weights below; ``learned`` balances the tasks by their uncertainty.
        mask_weight: Weight of the mask loss.
        class_weight: Weight of the class loss.
        optimizer: ``adamw``, ``adam``, ``sgd``, or a registered name.
        lr: Highest learning rate of decoder and heads.
        encoder_lr: Learning rate of the encoder, as a fraction of ``lr``.
        weight_decay: Weight decay of the optimiser.
        momentum: Momentum of ``sgd``, or of a registered optimiser that has one.
        schedule: ``cosine`` (after warm-up), ``one_cycle``, ``plateau`` (a tenth when the joint score stagnates) or ``constant``.
        warmup_epochs: Epochs of linear warm-up of ``cosine``, ``plateau`` and ``constant``.
        freeze_encoder_epochs: First epochs in which the encoder is frozen; -1 is all of them.
        ema: Decay of the exponential moving average of the weights, which is validated and saved; None disables it.
        clip: Largest norm of the gradient; None disables clipping.
        accumulate: Batches whose gradients are accumulated for one step.
        patience: Epochs without a better joint score after which training stops; None trains to the end.
        calibrate: Whether temperature and confidence threshold are fitted on the validation part at the end, each where the part
            has enough scans (see ``bcdseg.fit_site``); else those of the initial model stay.
        precision: ``32``, ``bf16``, ``fp16`` or ``auto``: bf16 on a GPU that supports it, else 32.
        channels_last: Whether tensors use the channels-last memory layout, the fastest for convolutions.
        compile: Whether to run ``torch.compile``, which needs a C++ compiler.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: Number of devices (on a CPU: processes) of each machine.
        nodes: Number of machines.
        strategy: ``auto`` or ``ddp``.
        loggers: Any of ``tensorboard``, ``mlflow``, ``wandb``, besides the CSV that is always written.
        pictures: Whether to draw curves, worst scans and confusion matrix during training.
        progress: Whether to show progress: a bar in a terminal, one line per epoch elsewhere.
    """

    epochs: int = 60
    batch_size: int = 16
    seed: int = 0
    deterministic: bool = False
    augment: Augment = "default"
    mix: Mix = "none"
    mix_share: float = 0.5
    balance: Balance = "weight"
    cache: Cache = "auto"
    cache_gb: float = 4.0
    workers: int | None = None
    loss: str = "joint"
    mask_loss: str = "dice_ce"
    class_loss: str = "ce"
    label_smoothing: float = 0.05
    task_weights: TaskWeights = "fixed"
    mask_weight: float = 1.0
    class_weight: float = 0.5
    optimizer: str = "adamw"
    lr: float = 1e-3
    encoder_lr: float = 0.33
    weight_decay: float = 1e-3
    momentum: float = 0.9
    schedule: Schedule = "one_cycle"
    warmup_epochs: int = 0
    freeze_encoder_epochs: int = 0
    ema: float | None = 0.99
    clip: float | None = 5.0
    accumulate: int = 1
    patience: int | None = None
    calibrate: bool = True
    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    device: Device = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"
    loggers: tuple[str, ...] = ()
    pictures: bool = True
    progress: bool = True

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, as_plain(getattr(self, one.name)))
        if isinstance(self.loggers, list):
            object.__setattr__(self, "loggers", tuple(self.loggers))
        object.__setattr__(self, "precision", str(self.precision))  # YAML parses 32 as a number
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            others: Mapping[str, Any] = OPEN.get(name, {})
            if not isinstance(value, str) or (value not in choices and value not in others):
                self._check(name, False, f"choose one of {', '.join(dict.fromkeys((*choices, *others)))}")
        for names, good, advice in RULES:
            for name in names:
                self._check(name, good(getattr(self, name)), advice)
        self._check_together()

    def _check_together(self) -> None:
        """Raise an OptionError for options that exclude one another."""
        world = self.devices * self.nodes
        share = f"give a multiple of {world}, the number of devices"
        self._check("batch_size", self.batch_size % world == 0, share)
        self._check("mix", self.mix == "none" or self.batch_size > 1, "the scans of a batch are mixed: give a batch_size above 1")
        self._check("warmup_epochs", self.warmup_epochs < self.epochs, f"warm up for less than the {self.epochs} epochs there are")
        self._check("class_weight", self.mask_weight + self.class_weight > 0, "give it or mask_weight a number above 0")
        self._check("devices", self.device != "mps" or world == 1, "Apple's GPU is one device; give 1")

    def _check(self, name: str, good: bool, what_to_do: str) -> None:
        if not good:
            raise OptionError(f"{name}={getattr(self, name)!r}: {what_to_do}.")

    def changed(self) -> dict[str, Any]:
        """Return the options that differ from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __repr__(self) -> str:
        return f"FitConfig({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"


TYPES = {field.name: "str" if field.name in CHOICES else str(field.type) for field in fields(FitConfig)}
"""Annotation of each option, such as ``float | None``."""

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word"}


def read_config(path: str | PathLike[str]) -> FitConfig:
    """Read the options from a TOML or YAML file; those that it doesn't contain keep their defaults.

    Raises:
        OptionError: The file doesn't exist, isn't TOML or YAML, or has an option that doesn't exist or isn't valid.
    """
    path = Path(path)
    try:
        return from_values(read_values(path))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error


def read_values(path: Path) -> dict[str, Any]:
    """Return the content of a TOML or YAML file, not yet validated."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"the file can't be read ({error}).") from error
    if path.suffix.lower() not in (".toml", ".yaml", ".yml"):
        raise OptionError("give a file that ends in .toml, .yaml or .yml.")
    values = from_toml(text) if path.suffix.lower() == ".toml" else _yaml(text)
    if not isinstance(values, dict):
        raise OptionError("contains no options: write one per line, 'name = value' in TOML or 'name: value' in YAML.")
    return values


def from_values(values: Mapping[str, Any], base: FitConfig | None = None) -> FitConfig:
    """Return a config with some options set; texts are parsed by the option's type, so YAML's ``1e-3`` and ``none`` are valid."""
    return replace(base or FitConfig(), **{known_name(name): typed(name, value) for name, value in values.items()})


def from_settings(settings: Iterable[str], base: FitConfig | None = None) -> FitConfig:
    """Return a config with the ``key=value`` settings of a command line."""
    return from_values(split_settings(settings), base)


def split_settings(settings: Iterable[str]) -> dict[str, str]:
    """Return the ``key=value`` settings of a command line by name, not yet validated."""
    values: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise OptionError(f"{setting!r}: write it as key=value, for example epochs=20.")
        values[name.strip()] = value.strip()
    return values


def from_toml(text: str) -> Any:
    """Parse a TOML document, on every Python version that the library supports."""
    toml = require("tomllib" if sys.version_info >= (3, 11) else "tomli", extra="train", purpose="Reading TOML")
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise OptionError(f"is not valid TOML ({error}).") from error


def to_toml(config: FitConfig) -> str:
    """Return all options of a run in the form that ``read_config`` reads. TOML has no null: None is written as the word none."""
    values = {name: getattr(config, name) for name in TYPES}
    about = (
        "# The training options of a run, without its data and its model. To train a model with the same options:\n"
        "# bcdseg train DATA --encoder NAME --size PIXELS --config config.toml\n"
    )
    return about + toml_lines(values)


def toml_lines(values: Mapping[str, Any]) -> str:
    """Format texts, numbers, booleans and lists of them as TOML; None is written as the word none."""
    return "".join(f"{name} = {json.dumps('none' if value is None else value)}\n" for name, value in values.items())


def known_name(name: object) -> str:
    """Return the name of an option, or raise an OptionError that suggests the closest name. Keys of YAML can be of any type."""
    if isinstance(name, str) and name in TYPES:
        return name
    near = get_close_matches(str(name), TYPES, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(TYPES)}."
    raise OptionError(f"{name!r}: no option of training has this name. {hint}")


def typed(name: str, value: Any) -> Any:
    """Convert a text to the type of its option; return other values unchanged."""
    if not isinstance(value, str):
        return value
    kind, _, or_none = TYPES[name].partition(" | ")
    if or_none and value.lower() in ("none", "null", ""):
        return None
    if kind == "str":
        return value
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in value.strip("[]() ").split(",") if part.strip())
    try:
        return WORDS[value.lower()] if kind == "bool" else {"int": int, "float": float}[kind](value)
    except (KeyError, ValueError):
        what = f"one of {', '.join(CHOICES[name])}" if name in CHOICES else KINDS[kind]
        raise OptionError(f"{name}={value!r}: give {what}{', or none' if or_none else ''}.") from None


def _yaml(text: str) -> Any:
    yaml = require("yaml", extra="train", purpose="Reading YAML")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionError(f"is not valid YAML ({error}).") from error
