"""Every option of a training run, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from bcdseg.errors import OptionError

AUGMENT = ("default", "light", "none", "flip-rotate-zoom", "shift-shear-zoom-flip")
CHOICES: dict[str, tuple[str, ...]] = {
    "augment": AUGMENT,
    "mix": ("none", "mixup", "cutmix"),
    "balance": ("none", "sample", "weight"),
    "cache": ("auto", "memory", "disk", "none"),
    "mask_loss": ("dice_ce", "dice_focal", "tversky", "hausdorff"),
    "class_loss": ("ce", "focal"),
    "task_weights": ("fixed", "learned"),
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "one_cycle", "plateau", "constant"),
    "precision": ("auto", "32", "bf16", "fp16"),
    "strategy": ("auto", "ddp"),
    "device": ("auto", "cpu", "cuda", "mps"),
}
LOGGERS = ("tensorboard", "mlflow", "wandb")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """The options of ``bcdseg.fit`` and ``bcdseg train``; every run saves its own as ``config.toml``.

    Attributes:
        epochs: Times that every training scan is seen.
        batch_size: Scans of one step, over all devices together.
        seed: Of weights that start at random, order, augmentation and mixing.
        deterministic: Whether the same seed on the same machine must give the same result to the last bit, at some cost.
        augment: ``default``, ``light``, ``none``, or a classical set: ``flip-rotate-zoom``, ``shift-shear-zoom-flip``.
            ``fit(augment=...)`` also takes an albumentations or MONAI ``Compose``.
        mix: Blend pairs of scans, masks and labels: ``none``, ``mixup`` or ``cutmix``.
        mix_share: Share of the batches that are mixed.
        balance: Against rare classes: ``sample`` draws each class equally often, ``weight`` weighs the class loss by the square
            root of how rare a class is, ``none``.
        cache: Where decoded and resized scans are kept: ``memory``, ``disk``, ``none``, or ``auto``: memory up to ``cache_gb``.
        cache_gb: Most that the cache may take.
        workers: Processes that prepare scans; None chooses by the machine's cores.
        mask_loss: ``dice_ce``, ``dice_focal``, ``tversky`` or ``hausdorff``.
        class_loss: ``ce`` or ``focal``.
        label_smoothing: Of the class loss.
        task_weights: ``fixed`` uses the two weights below; ``learned`` balances the tasks by their uncertainty.
        mask_weight: Weight of the mask loss.
        class_weight: Weight of the class loss.
        optimizer: ``adamw``, ``adam`` or ``sgd``.
        lr: Highest learning rate of decoder and heads.
        encoder_lr: The encoder's rate, as a share of ``lr``.
        weight_decay: Of the optimiser.
        momentum: Of ``sgd``.
        schedule: ``cosine`` (after warm-up), ``one_cycle``, ``plateau`` (a tenth when the joint score stays) or ``constant``.
        warmup_epochs: Epochs of linear warm-up of ``cosine``, ``plateau`` and ``constant``.
        freeze_encoder_epochs: First epochs in which the encoder stays as it is; -1 is all of them.
        ema: Decay of the weights' running average, which is what is validated and kept; None keeps the weights as they are.
        clip: Largest norm of the gradient; None doesn't clip.
        accumulate: Batches whose gradients make one step.
        patience: Epochs without a better joint score after which training stops; None trains to the end.
        calibrate: Whether temperature and confidence threshold are fitted on the validation part at the end.
        precision: ``32``, ``bf16``, ``fp16`` or ``auto``: bf16 on a GPU that has it, else 32.
        channels_last: The memory layout that convolutions are fastest in.
        compile: Whether to run ``torch.compile``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: Devices (on a CPU: processes) of each machine.
        nodes: Machines.
        strategy: ``auto`` or ``ddp``.
        loggers: Any of ``tensorboard``, ``mlflow``, ``wandb``, besides the CSV that is always written.
        progress: Whether to show progress bars.
    """

    epochs: int = 60
    batch_size: int = 16
    seed: int = 0
    deterministic: bool = False
    augment: str = "default"
    mix: str = "none"
    mix_share: float = 0.5
    balance: str = "weight"
    cache: str = "auto"
    cache_gb: float = 4.0
    workers: int | None = None
    mask_loss: str = "dice_ce"
    class_loss: str = "ce"
    label_smoothing: float = 0.05
    task_weights: str = "fixed"
    mask_weight: float = 1.0
    class_weight: float = 0.5
    optimizer: str = "adamw"
    lr: float = 1e-3
    encoder_lr: float = 0.33
    weight_decay: float = 1e-3
    momentum: float = 0.9
    schedule: str = "one_cycle"
    warmup_epochs: int = 0
    freeze_encoder_epochs: int = 0
    ema: float | None = 0.99
    clip: float | None = 5.0
    accumulate: int = 1
    patience: int | None = None
    calibrate: bool = True
    precision: str = "auto"
    channels_last: bool = True
    compile: bool = False
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    loggers: tuple[str, ...] = ()
    progress: bool = True

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            _check(getattr(self, name) in choices, name, getattr(self, name), f"choose one of {', '.join(choices)}")
        for name in ("epochs", "batch_size", "accumulate", "devices", "nodes"):
            _check(
                _whole(getattr(self, name)) and getattr(self, name) >= 1,
                name,
                getattr(self, name),
                "give a whole number of 1 or more",
            )
        for name in ("seed", "warmup_epochs"):
            _check(
                _whole(getattr(self, name)) and getattr(self, name) >= 0,
                name,
                getattr(self, name),
                "give a whole number of 0 or more",
            )
        for name in ("workers", "patience"):
            value = getattr(self, name)
            _check(value is None or (_whole(value) and value >= (name == "patience")), name, value, "give a whole number, or None")
        _check(
            _whole(self.freeze_encoder_epochs) and self.freeze_encoder_epochs >= -1,
            "freeze_encoder_epochs",
            self.freeze_encoder_epochs,
            "give a number of epochs, or -1 for all",
        )
        for name in ("lr", "cache_gb"):
            _check(_number(getattr(self, name)) and getattr(self, name) > 0, name, getattr(self, name), "give a number above 0")
        for name in ("mix_share", "encoder_lr", "weight_decay", "mask_weight", "class_weight"):
            _check(
                _number(getattr(self, name)) and getattr(self, name) >= 0, name, getattr(self, name), "give a number of 0 or more"
            )
        for name in ("label_smoothing", "momentum"):
            _check(
                _number(getattr(self, name)) and 0 <= getattr(self, name) < 1,
                name,
                getattr(self, name),
                "give a number from 0 up to 1",
            )
        _check(self.mix_share <= 1, "mix_share", self.mix_share, "give a share from 0 to 1")
        _check(
            self.ema is None or (_number(self.ema) and 0 < self.ema < 1), "ema", self.ema, "give a decay between 0 and 1, or None"
        )
        _check(self.clip is None or (_number(self.clip) and self.clip > 0), "clip", self.clip, "give a norm above 0, or None")
        unknown = [name for name in self.loggers if name not in LOGGERS]
        _check(not unknown and not isinstance(self.loggers, str), "loggers", self.loggers, f"give a list of {', '.join(LOGGERS)}")

    def changed(self) -> dict[str, Any]:
        """The options that differ from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def __repr__(self) -> str:
        return f"FitConfig({', '.join(f'{name}={value!r}' for name, value in self.changed().items())})"


def _check(good: bool, name: str, value: object, what_to_do: str) -> None:
    if not good:
        raise OptionError(f"{name}={value!r}: {what_to_do}.")


def _whole(value: object) -> bool:
    return type(value) is int


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
