"""The caller's objects in a training run: their names and settings, which a resumed run compares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bcdseg.errors import OptionError
from bcdseg.model.model import Model

if TYPE_CHECKING:
    from bcdseg.training.loop.task import SegmentationClassificationTask

PLAIN = (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device)
LONGEST = 200  # characters of one setting; a longer one is stated by its beginning and its checksum
FEW = 32  # numbers of an array that are stated; of others the checksum
SETTINGS = " settings"

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
        """Names of the objects that determine the result and that no option names, with their settings where these are known."""
        named: dict[str, str] = {}
        for option, value in (("loss", self.loss), ("optimizer", self.optimizer)):
            if value is not None:
                named |= {option: _name(value), f"{option}{SETTINGS}": ", ".join(_settings(value)) or "none"}
        if self.task is not None:
            named["task"] = _name(self.task)
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
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        started = dict(line.split(": ", 1) for line in text.splitlines())
        known = {name for name in self.description if name in started or name.removesuffix(SETTINGS) not in started}
        given = {name: value for name, value in self.description.items() if name in known}  # runs of version 0.2 state no settings
        if started == given:
            return
        differing = [name for name in {**started, **given} if started.get(name) != given.get(name)]
        was, now = (", ".join(f"{name}: {one[name]}" for name in differing if name in one) or "none" for one in (started, given))
        raise OptionError(
            f"{folder}: the run was started with other objects of your own: {was}; now {now}. Give the same, and where training "
            "changes an object, a new one with the settings of the start."
        )


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
    if isinstance(custom.loss, type):
        raise OptionError(f"loss={custom.loss.__name__}: is a class. Give an object of it, {custom.loss.__name__}(...).")
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


# Settings: attributes and buffers of an object, arguments of a partial, defaults and enclosed values of a function. The code itself
# is not compared, nor are trained weights and the lists and dicts that a function encloses, such as logs.


def _settings(value: Any, above: tuple[int, ...] = ()) -> list[str]:
    """Return the settings of an object, one text per setting."""
    if isinstance(value, partial):
        places = {"function": value.func} | {f"argument {at}": one for at, one in enumerate(value.args)}
        found: Mapping[str, Any] = places | value.keywords
    elif isinstance(value, MethodType):
        return _settings(value.__self__, above)
    elif isinstance(value, FunctionType):
        found = _of_function(value)
    elif isinstance(value, (type, ModuleType, BuiltinFunctionType)):
        found = {}
    elif isinstance(value, nn.Module):
        fixed = {name: one for name, one in value.named_parameters(recurse=False) if not one.requires_grad}
        parts = fixed | dict(value.named_buffers(recurse=False)) | dict(value.named_children())
        found = {name: one for name, one in vars(value).items() if name not in vars(nn.Module())} | parts
    else:
        found = getattr(value, "__dict__", {})
    return [f"{name}={_shortened(_value(one, (*above, id(value))))}" for name, one in sorted(found.items())]


def _of_function(function: FunctionType) -> dict[str, Any]:
    """Return the defaults of a function and the values that it encloses."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    found = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)) | (function.__kwdefaults__ or {})
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # the value is not assigned yet
            continue
        if not isinstance(value, (list, dict, set)):
            found[name] = value
    return found


def _value(value: Any, above: tuple[int, ...]) -> str:
    """Return a value as text that is the same in each process; ``above`` are the ids of the objects that contain it."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        array = value.detach().cpu().double().numpy() if isinstance(value, Tensor) else np.asarray(value)
        return str(array.tolist()) if array.size <= FEW else f"{array.shape} {_checksum(array.tobytes())}"
    if isinstance(value, PLAIN):
        return repr(value)
    if id(value) in above:
        return "itself"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_value(key, above)}: {_value(one, above)}' for key, one in value.items())}}}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(_value(one, above) for one in value))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(one, above) for one in value)}]"
    settings = _settings(value, above) if callable(value) or is_dataclass(value) else []  # not of loggers, files and the like
    return f"{_name(value)}({', '.join(settings)})"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}... {_checksum(text.encode())}"


def _checksum(content: bytes) -> str:
    return f"SHA-256 {sha256(content).hexdigest()[:16]}"


def _weights(model: Model) -> str:
    """Return the checksum of a model's weights, and its calibration, which determine its outputs."""
    checksum = sha256()
    for name, value in model.network.state_dict().items():
        checksum.update(name.encode())
        checksum.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    offsets = f", class offsets {model.rules.class_offsets}" if model.rules.class_offsets else ""
    return f"weights {checksum.hexdigest()[:16]}, temperature {model.rules.temperature:g}{offsets}"
