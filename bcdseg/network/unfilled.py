"""Networks whose weights come from a file need no random ones first: filling large layers takes longer than reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FILLS = frozenset({Tensor.normal_, Tensor.uniform_})  # not all of torch.nn.init can be intercepted by itself


class Unfilled(TorchFunctionMode):
    """While it is entered, what would fill a layer's tensors leaves them, and the random state, as they are.

    A network built so holds arbitrary numbers until all of its weights are loaded.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer for one torch function."""
        named = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
