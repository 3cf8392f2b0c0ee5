"""What goes wrong while training, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bcdseg.errors import MemoryLimitError, OptionError
from bcdseg.train.config import FitConfig

NO_MEMORY = ("can't allocate memory", "not enough memory", "killed by signal", "out of memory")


@contextmanager
def clear_errors(folder: Path, config: FitConfig) -> Iterator[None]:
    """Turn torch's errors that a user can do something about into the library's; all others pass."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning leaves the program at Ctrl-C
            raise KeyboardInterrupt(f"Stopped. {_go_on(folder)}") from None
        raise
    except torch.OutOfMemoryError as error:
        raise MemoryLimitError(_no_memory(folder, config)) from error
    except RuntimeError as error:
        if any(words in str(error) for words in NO_MEMORY):
            raise MemoryLimitError(_no_memory(folder, config)) from error
        if "deterministic" in str(error) and config.deterministic:
            raise OptionError(f"deterministic=True is not possible with this network on this device: {error}") from error
        raise


def _no_memory(folder: Path, config: FitConfig) -> str:
    smaller = max(1, config.batch_size // 2)
    return (
        f"The memory does not suffice for batch_size={config.batch_size}. Try batch_size={smaller} with accumulate="
        f"{2 * config.accumulate}, which trains alike; a smaller size of the model's scans; precision='bf16' or 'fp16' on a GPU; "
        f"or, if it is the machine's memory that is full, workers=0 or a smaller cache_gb. {_go_on(folder)}"
    )


def _go_on(folder: Path) -> str:
    return f"What {folder} holds is whole; a run that is to go on with the same options goes on with resume=True, --resume."
