"""Messages to the user: numbers with nouns, shortened lists, warnings that point to the caller's line, checks of options."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from bcdseg.errors import DatasetError, OptionError

PACKAGE = __name__.partition(".")[0]
MOST_LETTERS = 24


def name_some(names: Sequence[object], most: int = 5) -> str:
    """Return the first names on one line, and the number of the others: ``a, b and 3 more``."""
    return ", ".join(map(str, names[:most])) + _rest(" ", names, most)


def list_some(lines: Sequence[object], most: int = 10) -> str:
    """Return the first lines indented, each on a line of its own, and the number of the others."""
    return "\n".join(f"  {line}" for line in lines[:most]) + _rest("\n  ", lines, most)


def short_name(name: str) -> str:
    """Return a name for a figure: one of more than 24 letters, which would leave no room for the axes, without its middle.

    Examples:
        >>> short_name("benign"), short_name("invasive carcinoma of no special type")
        ('benign', 'invasive car…pecial type')
    """
    half = MOST_LETTERS // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}…{name[1 - half :]}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which gets an s unless the number is 1.

    Examples:
        >>> counted(1, "scan"), counted(3, "scan")
        ('1 scan', '3 scans')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def percent(fraction: float, digits: int = 0) -> str:
    """Return a fraction in percent.

    Examples:
        >>> percent(0.95), percent(0.4581, 1)
        ('95 %', '45.8 %')
    """
    return f"{100 * fraction:.{digits}f} %"


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning that names the innermost line outside of the library."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def check_choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Raise an error that lists the choices if the value is not one of them."""
    if value not in choices:
        raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}.")


def as_plain(value: Any) -> Any:
    """Return a number of numpy as one of Python, and any other value as it is; numpy is not imported for that."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def check_whole(least: int = 0, /, **numbers: object) -> None:
    """Raise an error for options that are not whole numbers of at least ``least``, before any work is done."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise OptionError(f"{name}={value!r}: give a whole number of {least} or more.")


def raise_problems(name: str, problems: Sequence[str]) -> None:
    """Raise one error that lists all problems of a data set, if there are any."""
    if not problems:
        return
    raise DatasetError(
        f"{name}: {counted(len(problems), 'problem')}, all in the error's .problems. "
        f'Correct them, or leave them out: on_problem="skip", --on-problem skip.\n{list_some(problems, 20)}',
        problems,
    )


def _rest(before: str, items: Sequence[object], most: int) -> str:
    return f"{before}and {len(items) - most} more" if len(items) > most else ""
