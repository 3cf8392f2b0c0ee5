"""Objects of the caller of ``fit``, in place of those that the options name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.errors import OptionError

if TYPE_CHECKING:
    from bcdseg.model.model import Model
    from bcdseg.training.loop.task import SegmentationClassificationTask

CUSTOM = "custom.txt"
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True, kw_only=True)
class Custom:
    """Objects of the caller.

    Attributes:
        augment: Augmentation, an albumentations or MONAI ``Compose``.
        loss: Function or module from ``Output`` and ``Truth`` to the loss of a batch.
        optimizer: Class of an optimiser, or a function that makes one of parameter groups.
        callbacks: Lightning callbacks.
        loggers: Lightning loggers, besides those of the options.
        task: Subclass of ``SegmentationClassificationTask``.
        teacher: Teacher whose outputs are distilled.
    """

    augment: Any = None
    loss: Callable[..., Any] | None = None
    optimizer: Callable[..., Any] | None = None
    callbacks: tuple[Any, ...] = ()
    loggers: tuple[Any, ...] = ()
    task: type[SegmentationClassificationTask] | None = None
    teacher: Model | None = None

    @property
    def description(self) -> dict[str, str]:
        """Names of the objects that determine the result and that no option names."""
        given = {"loss": self.loss, "optimizer": self.optimizer, "task": self.task}
        named = {option: _name(value) for option, value in given.items() if value is not None}
        if self.augment is not None:
            named["augment"] = _augmentation(self.augment)
        if self.teacher is not None:
            named["teacher"] = _weights(self.teacher)
        return named

    @property
    def text(self) -> bytes:
        """The description, one line per object."""
        return "".join(f"{option}: {name}\n" for option, name in self.description.items()).encode()

    def check_resumes(self, folder: Path) -> None:
        """Raise an OptionError where a run was started with other objects."""
        path = folder / CUSTOM
        started = path.read_text(encoding="utf-8") if path.is_file() else ""
        given = self.text.decode()
        if started != given:
            was, now = (text.strip().replace("\n", ", ") or "none" for text in (started, given))
            raise OptionError(f"{folder}: the run was started with other objects of your own: {was}; now {now}. Give the same.")


def check_custom(custom: Custom) -> None:
    """Raise an OptionError for objects of the wrong kind. Lightning is imported here."""
    from pytorch_lightning.callbacks import Callback
    from pytorch_lightning.loggers import Logger
    from torch.optim import Optimizer

    from bcdseg.training.loop.task import SegmentationClassificationTask

    if isinstance(custom.optimizer, Optimizer):
        raise OptionError(
            f"optimizer={type(custom.optimizer).__name__}(...): fit trains a copy of the network, so give the class, or a function "
            "that makes the optimiser of parameter groups."
        )
    for option, value in (("loss", custom.loss), ("optimizer", custom.optimizer)):
        if value is not None and not callable(value):
            raise OptionError(f"{option}={value!r}: give a registered name, a function or a module.")
    for callback in custom.callbacks:
        if not isinstance(callback, Callback):
            raise OptionError(f"callbacks: {callback!r} is not a Callback of pytorch_lightning.")
    for logger in custom.loggers:
        if not isinstance(logger, Logger):
            raise OptionError(f"logger: {logger!r} is not a Logger of pytorch_lightning.")
    task = custom.task
    if task is not None and not (isinstance(task, type) and issubclass(task, SegmentationClassificationTask)):
        raise OptionError(f"task={task!r}: give a subclass of bcdseg.SegmentationClassificationTask, not an object of it.")


def _name(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _augmentation(compose: Any) -> str:
    """Return the transforms of a ``Compose`` with their parameters; those of MONAI report no parameters."""
    text = repr(compose)
    if ADDRESS.search(text):  # the default text of an object, as MONAI's, doesn't list the transforms
        text = f"{_name(compose)}({', '.join(map(repr, getattr(compose, 'transforms', ())))})"
    return " ".join(ADDRESS.sub("", text).split())


def _weights(model: Model) -> str:
    """Return the checksum of a model's weights and its temperature, which determine its outputs."""
    import torch

    checksum = sha256()
    for name, value in model.network.state_dict().items():
        checksum.update(name.encode())
        checksum.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return f"weights {checksum.hexdigest()[:16]}, temperature {model.rules.temperature:g}"
