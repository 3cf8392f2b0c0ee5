"""Whether a network is still the one that was made ready for prediction."""

from __future__ import annotations

from torch.nn import Module


def weights_state(network: Module) -> list[int]:
    """Which modules and tensors a network holds, and how often each tensor was written to."""
    state: list[int] = []
    add = state.append  # this is asked before every prediction
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
    return state
