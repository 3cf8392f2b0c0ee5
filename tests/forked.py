"""Work in a process of its own that has imported all modules already, which take a new one seconds."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable


def run_forked(work: Callable[[], object]) -> int:
    """Run a function in a forked process, and return the exit status of that: 0 at its end, 1 after an error.

    The function may use neither a GPU nor the gradients of torch, whose threads are not forked.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons advise against forks of a process with threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
