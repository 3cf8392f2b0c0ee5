"""Check of the header of a safetensors file before any tensor is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bcdseg.errors import ModelFileError

LENGTH = 8  # bytes with the length of the header, at the start of the file
MOST_HEADER = 16 * 2**20  # bytes, enough for a hundred thousand tensors
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes per number of each type in which floating-point weights may be stored."""

OTHERS = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}


def check_weights_file(path: Path, expected: Mapping[str, Tensor], config: str) -> None:
    """Check the size and header of a weights file against the network.

    Args:
        path: Weights file.
        expected: Tensors of the network by name.
        config: Name of the configuration file of the network, for error messages.

    Raises:
        ModelFileError: The file is truncated, is not a safetensors file, or has other tensors than the network.
    """
    header, size = _header(path)
    tensors = {name: facts for name, facts in header.items() if name != "__metadata__"}
    if problem := _difference(tensors, expected):
        raise ModelFileError(f"{path.parent}: {path.name} and {config} are of different models ({problem}).")
    needed = sum(_bytes(tensors[name]["dtype"], value) for name, value in expected.items())
    if size != needed:
        raise ModelFileError(
            f"{path}: is truncated or damaged, it has {size} bytes of weights where its header requires {needed}. "
            "Copy the folder again."
        )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, and the number of bytes after it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if not 0 < length <= min(MOST_HEADER, size - LENGTH):
            raise ModelFileError(f"{path}: is truncated or damaged, or not a safetensors file. Copy the folder again.")
        content = file.read(length)
    try:
        header = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: is truncated or damaged, its header is not valid JSON ({error}).") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: is not a safetensors file, its header is no object.")
    return header, size - LENGTH - length


def _difference(tensors: Mapping[str, Any], expected: Mapping[str, Tensor]) -> str | None:
    """Return the first difference between the tensors of a file and those of a network, or None."""
    if missing := next((name for name in expected if name not in tensors), None):
        return f"the file has no {missing}"
    if extra := next((name for name in tensors if name not in expected), None):
        return f"the network has no {extra[:100]!r}"
    for name, value in expected.items():
        facts = tensors[name]
        if not isinstance(facts, dict) or facts.get("shape") != list(value.shape):
            return f"{name} has not the shape {list(value.shape)}"
        if str(facts.get("dtype")) not in (FLOATS if value.is_floating_point() else (OTHERS.get(value.dtype, ""),)):
            return f"{name} has not the type {str(value.dtype).removeprefix('torch.')}"
    return None


def _bytes(stored_as: str, value: Tensor) -> int:
    return math.prod(value.shape) * FLOATS.get(stored_as, value.element_size())
