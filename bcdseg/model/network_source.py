"""Network of a model, in memory or still in its weights file, and what identifies its weights.

The weights file is a safetensors file, whose header is checked before any tensor is read.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bcdseg.errors import ModelFileError
from bcdseg.networks.config import AnyConfig, has_own_parts

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from bcdseg.networks.network import AnyNetwork

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT, FORMAT_VERSION = "bcdseg-model", 1
LENGTH = 8  # bytes with the length of the header, at the start of the file
MOST_HEADER = 16 * 2**20  # bytes, enough for a hundred thousand tensors
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes per number of each type in which floating-point weights may be stored."""

OTHERS = {"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}


@dataclass(frozen=True, kw_only=True)
class SavedNetwork:
    """Network of a saved model, which is built from its configuration and its weights file without a change.

    Attributes:
        config: Configuration of the network.
        folder: Folder of the model.
        sha256: Checksum of the weights file, from the model's configuration file.
        size: Size of the weights file in bytes.
        content: Content of the weights file; None as long as it isn't read.
    """

    config: AnyConfig
    folder: Path
    sha256: str
    size: int
    content: bytes | None = None

    @property
    def key(self) -> bytes:
        """Bytes that identify the weights."""
        return f"{self.sha256} {self.size}".encode()

    def read(self) -> SavedNetwork:
        """Return the network with the content of its weights file.

        Raises:
            ModelFileError: The checksum of the file is not the one in the configuration file.
        """
        if self.content is not None:
            return self
        path = self.folder / WEIGHTS
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelFileError(
                f"{path}: is truncated or damaged, its checksum is not the one in {CONFIG}. Copy the folder again."
            )
        return replace(self, content=content)

    def build(self) -> AnyNetwork:
        """Build the network in evaluation mode; its tensors limit what is read from the weights file.

        Raises:
            ModelFileError: The configuration can't be built, or the weights file is damaged or of another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from bcdseg.networks.network import build
        from bcdseg.networks.pretrained import Unfilled

        try:
            with Unfilled():
                network = build(self.config).eval()
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise ModelFileError(f"{self.folder / CONFIG}: describes a model that can't be built ({error}).") from error
        self._check_header(network.state_dict())
        content = self.read().content
        assert content is not None
        try:
            weights = load(content)
            network.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in weights.items()})
        except SafetensorError as error:
            raise ModelFileError(f"{self.folder / WEIGHTS}: is not a safetensors file ({error}).") from error
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ModelFileError(f"{self.folder}: {WEIGHTS} and {CONFIG} are of different models ({reason}).") from error
        return network

    def _check_header(self, expected: Mapping[str, Tensor]) -> None:
        """Check the size and header of the weights file against the tensors of the network by name."""
        path = self.folder / WEIGHTS
        if self.content is not None:
            header, size = _header(io.BytesIO(self.content), len(self.content), path)
        else:
            with path.open("rb") as file:
                header, size = _header(file, path.stat().st_size, path)
        tensors = {name: facts for name, facts in header.items() if name != "__metadata__"}
        if problem := _difference(tensors, expected):
            raise ModelFileError(f"{self.folder}: {WEIGHTS} and {CONFIG} are of different models ({problem}).")
        needed = sum(_bytes(tensors[name]["dtype"], value) for name, value in expected.items())
        if size != needed:
            raise ModelFileError(
                f"{path}: is truncated or damaged, it has {size} bytes of weights where its header requires {needed}. "
                "Copy the folder again."
            )


def _header(file: BinaryIO, size: int, path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and the number of bytes after it."""
    length = int.from_bytes(file.read(LENGTH), "little")
    if not 0 < length <= min(MOST_HEADER, size - LENGTH):
        raise ModelFileError(f"{path}: is truncated or damaged, or not a safetensors file. Copy the folder again.")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: is truncated or damaged, its header is not valid JSON ({error}).") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: is not a safetensors file, its header is not an object.")
    return header, size - LENGTH - length


def _difference(tensors: Mapping[str, Any], expected: Mapping[str, Tensor]) -> str | None:
    """Return the first difference between the tensors of a file and those of a network, or None."""
    if missing := next((name for name in expected if name not in tensors), None):
        return f"the file has no {missing}"
    if extra := next((name for name in tensors if name not in expected), None):
        return f"the network has no {extra[:100]!r}"
    for name, value in expected.items():
        facts, dtype = tensors[name], str(value.dtype).removeprefix("torch.")
        if not isinstance(facts, dict) or facts.get("shape") != list(value.shape):
            return f"{name} has not the shape {list(value.shape)}"
        if str(facts.get("dtype")) not in (FLOATS if value.is_floating_point() else (OTHERS.get(dtype, ""),)):
            return f"{name} has not the type {dtype}"
    return None


def _bytes(stored_as: str, value: Tensor) -> int:
    return math.prod(value.shape) * FLOATS.get(stored_as, value.element_size())


LIBRARIES = ("bcdseg", "torch", "timm", "segmentation_models_pytorch")
State = tuple[int | bytes, ...]


class NetworkSource:
    """Network of a model, which is built from its file when it is first needed.

    Args:
        network: The network, or where it is saved.
    """

    def __init__(self, network: AnyNetwork | SavedNetwork) -> None:
        self.config: AnyConfig = network.config
        self._file = network if isinstance(network, SavedNetwork) else None
        self._network = None if isinstance(network, SavedNetwork) else network
        self._state_as_built: State | None = None

    def network(self) -> AnyNetwork:
        """Return the network; one in a file is built first, which imports torch and takes seconds."""
        if self._network is None:
            assert self._file is not None
            self._network = self._file.build()
            self._file = replace(self._file, content=None)
            if not has_own_parts(self.config):  # their code may change while the file stays the same
                self._state_as_built = network_state(self._network)
        return self._network

    def keep_content(self) -> None:
        """Read the weights file, if the network isn't built yet, so that it can be built when the file is gone.

        Raises:
            ModelFileError: The checksum of the file is not the one in the configuration file.
        """
        if self._network is None and self._file is not None:
            self._file = self._file.read()

    def state(self) -> State:
        """Return what changes with the weights: the checksum of the file that they are from, as long as they are unchanged."""
        if self._network is None:
            assert self._file is not None
            return (self._file.key,)
        state = network_state(self._network)
        return (self._file.key,) if self._file is not None and state == self._state_as_built else state

    def key(self) -> bytes:
        """Return bytes that identify the weights in any process."""
        if self._file is not None and self.state() == (self._file.key,):
            return self._file.key
        return network_key(self.network())

    def forget_file(self) -> None:
        """Identify the weights by their values from now on, as they may have changed unseen."""
        self._state_as_built = None


def network_state(network: Module) -> State:
    """Return identities of the modules and tensors of a network, and version counters of its tensors."""
    state: list[int] = []
    add = state.append  # a local name for speed, as this runs before every prediction
    modules = [network]
    for module in modules:
        add(id(module))
        for child in module._modules.values():
            if child is not None:
                modules.append(child)
        for tensors in (module._parameters, module._buffers):
            for tensor in tensors.values():
                if tensor is not None:
                    add(tensor.data_ptr())
                    add(tensor._version)
    return tuple(state)


def network_key(network: Module) -> bytes:
    """Return a hash of the weights of a network, and of the code of the modules that are not of the library."""
    digest = blake2b(digest_size=20)
    for part in _parts(network):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _parts(network: Module) -> Iterator[bytes]:
    for name, tensor in network.state_dict().items():
        yield name.encode()
        yield np.ascontiguousarray(tensor.detach().cpu().float().numpy()).tobytes()
    for module in network.modules():
        if type(module).__module__.partition(".")[0] not in LIBRARIES:
            try:
                yield inspect.getsource(type(module)).encode()  # it may change while the weights stay the same
            except (OSError, TypeError):  # defined in an interactive session: another key in each process
                yield str(os.getpid()).encode()
