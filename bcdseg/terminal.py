"""Text on a terminal, with control characters in file names and other untrusted texts escaped.

A name such as ``\\x1b]0;title\\x07.png`` could otherwise set colours, clear the screen or forge lines. Everything that the library
prints goes through this module.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

LINE_FEED, TAB = 0x0A, 0x09
CONTROLS = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x61C,
    *range(0x200E, 0x2010),  # this and the next ranges change the direction of text or start lines
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)


def _shown(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


ESCAPES = {code: _shown(code) for code in CONTROLS if code not in (LINE_FEED, TAB)}


def printable(text: str) -> str:
    r"""Return a text with control characters as ``\x1b`` and undecodable bytes as ``\udcff``; line feeds and tabs stay."""
    return text.translate(ESCAPES).encode("utf-8", "backslashreplace").decode()


def printable_name(text: str) -> str:
    r"""Return a name on one line: like ``printable``, with line feeds and tabs as ``\x0a`` and ``\x09``."""
    return printable(text.replace("\n", _shown(LINE_FEED)).replace("\t", _shown(TAB)))


def echo(text: str, *, err: bool = False, newline: bool = True) -> None:
    """Print a text to the standard output or the standard error."""
    import typer

    typer.echo(printable(text), err=err, nl=newline)


def write_data(text: str) -> None:
    """Print text for programs: unchanged to a file or a pipe, and like ``printable`` to a terminal."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def make_console(**options: Any) -> Console:
    """Return a rich console that prints all texts, also those in tables, like ``printable``."""
    made: Console = _console_class()(**options)
    return made


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,
) -> None:
    """Print a warning, as a replacement of ``warnings.showwarning``; one of the library's own is one line."""
    if category.__module__.partition(".")[0] == "bcdseg":
        echo(f"bcdseg: warning: {message}", err=True)
        return
    echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, newline=False)


@cache
def _console_class() -> Any:
    from rich.console import Console

    class SafeConsole(Console):
        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(printable(text), **options)

    return SafeConsole
