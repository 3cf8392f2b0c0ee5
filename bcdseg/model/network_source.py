"""Network of a model, in memory or still in its file, and what identifies its weights."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from bcdseg.model.weights_file import SavedNetwork
from bcdseg.networks.config import AnyConfig, has_own_parts

if TYPE_CHECKING:
    from torch.nn import Module

    from bcdseg.networks.ensemble import AnyNetwork

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
        if self._file is not None and self._network is None:
            return (self._file.key,)
        state = network_state(self.network())
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
