"""Registries of losses, metrics, heads, encoders, layouts, runtimes and other parts, open to other packages.

The library registers its own parts in the same way as others do: with ``register``. A package makes its parts known by an entry
point of the group ``bcdseg.plugins`` that names a module; the module is imported when a name is not known yet, or when the names
are listed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, TypeVar

from bcdseg.errors import OptionError, PluginWarning
from bcdseg.messages import warn_caller

GROUP = "bcdseg.plugins"
NAME = re.compile(r"[A-Za-z0-9_.+-]{1,100}")
Part = TypeVar("Part")


class Registry(Mapping[str, Any]):
    """Mapping from names to the registered parts of one kind, in the order of registration.

    Args:
        kind: Name of the kind, for messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Any] = {}
        self._plugins: dict[str, str] = {}  # the plug-ins that registered parts, by the parts' names

    def register(self, name: str, plugin: str | None = None) -> Callable[[Part], Part]:
        """Return a decorator that registers a part under a name; see ``bcdseg.register``.

        Args:
            name: New name of the part.
            plugin: Description of the plug-in that registers it, or None for the library and the user's own code.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise OptionError(f"{self.kind} {str(name)[:100]!r}: choose a name of letters, digits, '_', '-', '+' and '.'.")

        def add(part: Part) -> Part:
            known = self._parts.get(name)
            if known is not None and not _is_redefined(known, part):
                self.claim(name, _origin(part), plugin)
            self._parts[name] = part
            if plugin is not None:
                self._plugins[name] = plugin
            return part

        return add

    def claim(self, name: str, owner: str, plugin: str | None = None) -> None:
        """Remove a plug-in's part whose name another part has, so that the result doesn't depend on the order of imports.

        Args:
            name: The name; nothing happens if no part is registered under it.
            owner: Description of the other part.
            plugin: Description of the plug-in of the other part, or None for the library and the user's own code.

        Warns:
            PluginWarning: A plug-in has registered a part of this name; it is removed.

        Raises:
            OptionError: Another part of this name is registered.
        """
        if name not in self._parts:
            return
        message = f"{self.kind} {name!r} is registered twice, by {_origin(self._parts[name])} and by {owner}"
        if plugin is not None or name not in self._plugins:
            raise OptionError(f"{message}: choose another name.")
        del self._parts[name]
        warn_caller(
            f"{message}. That of the plug-in {self._plugins.pop(name)} is not used: it needs another name. Correct it, or "
            "uninstall its package.",
            PluginWarning,
        )

    def find(self, name: str) -> Any:
        """Return the part that is registered under a name.

        Raises:
            OptionError: No part has this name; the message lists the names that are known.
        """
        try:
            return self[name]
        except KeyError:
            near = get_close_matches(str(name), self, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"{self.kind}={name!r} is unknown.{hint} Known: {', '.join(self) or 'none'}.") from None

    def __getitem__(self, name: str) -> Any:
        if name not in self._parts:
            _import_plugins()
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        _import_plugins()
        return iter(tuple(self._parts))

    def __len__(self) -> int:
        _import_plugins()
        return len(self._parts)


CLASS_LOSSES = Registry("class_loss")
ENCODERS = Registry("encoder")
EXPORT_FORMATS = Registry("export_format")
HEADS = Registry("head")
LAYOUTS = Registry("layout")
LOSSES = Registry("loss")
MASK_LOSSES = Registry("mask_loss")
METRICS = Registry("metric")
OPTIMIZERS = Registry("optimizer")
RUNTIMES = Registry("runtime")

_ALL = (LOSSES, MASK_LOSSES, CLASS_LOSSES, METRICS, HEADS, ENCODERS, OPTIMIZERS, LAYOUTS, RUNTIMES, EXPORT_FORMATS)
KINDS = {one.kind: one for one in _ALL}
"""Registries by the name of their kind."""


def register(kind: str, name: str) -> Callable[[Part], Part]:
    """Return a decorator that registers a part of your own under a name.

    The name can then be used like the library's own names: in options, recipes, configuration files and the command line. The
    interface of each kind of part is documented in "Add your own parts" (docs/how-to/extend.md).

    Args:
        kind: ``"loss"``, ``"mask_loss"``, ``"class_loss"``, ``"metric"``, ``"head"``, ``"encoder"``, ``"optimizer"``,
            ``"layout"``, ``"runtime"`` or ``"export_format"``.
        name: New name of the part.

    Raises:
        OptionError: The kind is unknown, or the name is taken.

    Examples:
        >>> import bcdseg
        >>> @bcdseg.register("metric", "sensitivity")
        ... def sensitivity(y_true, y_pred):
        ...     return (y_true & y_pred).sum() / y_true.sum()
    """
    if kind not in KINDS:
        raise OptionError(f"kind={kind!r} is unknown. Known: {', '.join(KINDS)}.")
    return KINDS[kind].register(name, _loading)


_lock = threading.RLock()  # a plug-in may look up names while it is imported, other threads wait until it is
_imported = False
_loading: str | None = None
"""Description of the plug-in that is being imported."""


def _import_plugins() -> None:
    """Import each plug-in once. One that can't be imported causes a warning, so that all others can still be used."""
    global _imported, _loading
    with _lock:
        if _imported:
            return
        _imported = True
        for plugin in entry_points(group=GROUP):
            _loading = f"{plugin.name!r} ({plugin.value}{f' of {plugin.dist.name}' if plugin.dist else ''})"
            try:
                plugin.load()
            except (Exception, SystemExit) as error:  # a plug-in may raise anything
                warn_caller(
                    f"The plug-in {_loading} can't be imported ({type(error).__name__}: {error}). What it registers after this is "
                    "not known. Correct it, or uninstall its package.",
                    PluginWarning,
                )
            finally:
                _loading = None


def _is_redefined(known: Any, part: Any) -> bool:
    """Return whether a part is the same definition executed again, as in a notebook cell or a reloaded module."""
    name = getattr(part, "__qualname__", "<locals>")
    return "<locals>" not in name and _origin(known) == _origin(part) and name != "<lambda>"


def _origin(part: Any) -> str:
    """Return the module and name of a part, or its type where it is an object without a name."""
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"
