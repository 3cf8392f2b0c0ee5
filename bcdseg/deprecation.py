"""Names that were replaced: they work for some releases more, and warn at the caller's line with what to use instead."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from bcdseg.messages import warn_caller

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def deprecate(old: str, new: str, *, since: str) -> None:
    """Warn that a name is deprecated.

    Args:
        old: Name that was used, such as ``bcdseg.unseen``.
        new: What to use instead.
        since: Version that replaced the name.
    """
    warn_caller(f"{old} is deprecated since bcdseg {since} and will be removed: use {new}.", DeprecationWarning)


def renamed_arguments(since: str, **new_names: str) -> Callable[[Callable[Given, Returned]], Callable[Given, Returned]]:
    """Return a decorator that accepts the old names of arguments, with a warning: ``@renamed_arguments("0.2", old="new")``."""

    def decorate(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
        @functools.wraps(function)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
            for old in new_names.keys() & kwargs.keys():
                new = new_names[old]
                if new in kwargs:
                    raise TypeError(f"{function.__name__}: {old} is the former name of {new}; give {new} only.")
                deprecate(f"{function.__name__}({old}=...)", f"{new}=", since=since)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
