"""Exceptions of unforeseen classes: one file must not end a batch, whatever it raises."""

from __future__ import annotations

from bcdseg.errors import ImageError

EXITS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that end a program or a generator; all others are errors of the file. Decoders written in Rust raise classes that
are no ``Exception``."""


def unexpected_error(name: str, what: str, error: BaseException) -> ImageError:
    """Return the error for an image whose file or prediction raised an exception of an unforeseen class.

    Its message is left out, since it may quote the file.

    Args:
        name: The image's path or name.
        what: What can't be done with it.
        error: The exception.
    """
    return ImageError(f"{name}: {what} ({type(error).__name__}). Copy or export it again; if that does not help, report it.")
