"""Folding of batch norms into the preceding convolutions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from bcdseg.networks.network import AnyNetwork


def fold_batch_norm(network: AnyNetwork, size: tuple[int, int] = (256, 256)) -> AnyNetwork:
    """Return a copy of a network for inference, with each batch norm that directly follows a convolution folded into it.

    The network runs once to find which norm follows which convolution, so that this works for any encoder.

    Args:
        network: Network to copy; it is not changed.
        size: Height and width of a valid input.
    """
    folded = copy.deepcopy(network).eval().float()
    for conv_name, norm_name in _neighbours(folded, size):
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        _replace(folded, norm_name, _what_else(norm))
    return folded


def _neighbours(network: AnyNetwork, size: tuple[int, int]) -> list[tuple[str, str]]:
    made_by: dict[int, tuple[str, int]] = {}
    keep: list[Tensor] = []  # keeps the tensors alive, so that no id is reused
    uses: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_conv(name: str, output: Tensor) -> None:
        made_by[id(output)] = (name, output._version)
        uses[name] = uses.get(name, 0) + 1
        keep.append(output)

    def before_norm(name: str, value: Tensor) -> None:
        uses[name] = uses.get(name, 0) + 1
        conv, version = made_by.get(id(value), ("", 0))
        if conv and version == value._version:  # an in-place activation in between would have raised the version
            pairs.append((conv, name))

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _m, _i, output, name=name: after_conv(name, output)))
        elif isinstance(module, _BatchNorm) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(lambda _m, inputs, name=name: before_norm(name, inputs[0])))
    parameter = next(network.parameters())
    with torch.no_grad():
        network(torch.zeros(1, network.config.in_channels, *size, dtype=parameter.dtype, device=parameter.device))
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for conv, norm in pairs if uses[conv] == uses[norm] == 1]


def _what_else(norm: nn.Module) -> nn.Module:
    """Return what a norm module does besides normalising: timm's norms contain their activation."""
    extras = [module for name in ("drop", "act") if isinstance(module := getattr(norm, name, None), nn.Module)]
    extras = [module for module in extras if not isinstance(module, nn.Identity)]
    if not extras:
        return nn.Identity()
    return extras[0] if len(extras) == 1 else nn.Sequential(*extras)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
