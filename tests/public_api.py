"""The public names of the library with their signatures; ``python tests/public_api.py`` writes the list that a test compares."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import bcdseg

LIST = Path(__file__).with_suffix(".txt")


def public_api() -> list[str]:
    """Return one line per public function, class and method."""
    lines = []
    for name in sorted(bcdseg.__all__):
        value = getattr(bcdseg, name)
        if inspect.isclass(value):
            lines.append(f"class {name}{_signature(value)}")
            lines += [f"  {name}.{part}{_signature(method)}" for part, method in _own_methods(value)]
        elif callable(value):
            lines.append(f"{name}{_signature(value)}")
        elif name != "__version__":
            lines.append(name)
    return lines


def _own_methods(kind: type) -> list[tuple[str, Any]]:
    named = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    functions = {name: getattr(value, "__func__", value) for name, value in named.items()}
    return sorted((name, value) for name, value in functions.items() if inspect.isfunction(value))


def _signature(value: Any) -> str:
    """Return the names, kinds and defaults of the parameters; mypy checks the annotations."""
    signature = inspect.signature(value)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


if __name__ == "__main__":
    LIST.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
