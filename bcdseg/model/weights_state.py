"""Whether a network is still the one that was made ready for prediction."""

from __future__ import annotations

from torch.nn import Module


def weights_state(network: Module) -> list[tuple[int, int]]:
    """Which modules and tensors a network holds, and how often each tensor was written to."""
    state: list[tuple[int, int]] = []
    modules: list[Module] = [network]
    while modules:
        module = modules.pop()
        held = (*module._parameters.values(), *module._buffers.values())
        state.append((id(module), len(held)))
        state += [(tensor.data_ptr(), tensor._version) for tensor in held if tensor is not None]
        modules += [child for child in module._modules.values() if child is not None]
    return state
