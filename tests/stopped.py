"""A run of `bcdseg predict` that gets a signal when its third scan is to be written: stopped.py SIGNAL ARGUMENTS."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from bcdseg.batch.runner import OutputFolder
from bcdseg.cli import main
from bcdseg.inference.predictor import Result

AT = 3


def stopping(number: int) -> Callable[[OutputFolder, Result], tuple[Result, list[str]]]:
    """Replace ``OutputFolder.add`` by a function that sends this process a signal at the third scan."""
    if number == signal.SIGINT:
        signal.signal(number, signal.default_int_handler)  # shells have what they start in the background ignore it
    add, calls = OutputFolder.add, []

    def add_or_stop(folder: OutputFolder, result: Result) -> tuple[Result, list[str]]:
        calls.append(result)
        if len(calls) == AT:
            os.kill(os.getpid(), number)
        return add(folder, result)

    return add_or_stop


if __name__ == "__main__":
    OutputFolder.add = stopping(int(sys.argv.pop(1)))
    sys.argv[1:] = ["predict", *sys.argv[1:]]
    main()
