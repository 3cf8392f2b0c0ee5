"""Number of the library's functions and files that one prediction, and `fit` to its first step, pass through.

    python benchmarks/call_counts.py

Functions of this package are counted as Python's profiler reports them, in all threads. Comprehensions and generator expressions
belong to the function that contains them. The model and its runtime are ready, and the prediction is the second of its process.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from models import model_of
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_pre_hook

import bcdseg
from bcdseg.networks.network import Network

PACKAGE = str(Path(bcdseg.__file__).parent) + os.sep
SAMPLE = Path(__file__).parents[1] / "data" / "sample"
GOALS = "goals: predict 45 functions, 10 files and 8 frames at the forward pass; fit 15 files"


@dataclass
class Counts:
    """Own functions that were called, the number of their calls, and the stack at the network's first forward pass."""

    functions: dict[CodeType, int] = field(default_factory=dict)
    forward: list[CodeType] = field(default_factory=list)
    at_forward: int = 0
    done: bool = False

    def record(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or self.done or not is_own(frame.f_code):
            return
        self.functions[frame.f_code] = self.functions.get(frame.f_code, 0) + 1
        if frame.f_code is Network.forward.__code__ and not self.forward:
            self.forward = own_stack(frame)
            self.at_forward = len({code.co_filename for code in self.functions})

    @property
    def files(self) -> list[str]:
        return sorted({code.co_filename.removeprefix(PACKAGE) for code in self.functions})


def is_own(code: CodeType) -> bool:
    """Return whether the code is that of an own function; the body of a class is not a function."""
    is_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
    return is_function and code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<")


def own_stack(frame: FrameType | None) -> list[CodeType]:
    """Return the own functions on the stack, outermost first; the forward pass itself is the last."""
    stack = []
    while frame is not None:
        if is_own(frame.f_code):
            stack.append(frame.f_code)
        frame = frame.f_back
    return stack[::-1]


def count(run: Callable[[], object]) -> Counts:
    """Run a function under the profiler."""
    counts = Counts()
    hook = register_optimizer_step_pre_hook(lambda *_: setattr(counts, "done", True))
    threading.setprofile(counts.record)
    sys.setprofile(counts.record)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        hook.remove()
    return counts


def prediction() -> Counts:
    """Count one prediction of an array by the bundled model, on torch."""
    model = model_of("busi-lite")
    pixels = np.asarray(Image.open(sorted(SAMPLE.glob("malignant/*).png"))[0]).convert("L"))
    model.predict(pixels)
    return count(lambda: model.predict(pixels))


def training() -> Counts:
    """Count `fit` to the first step of its optimiser, on the sample scans, when its modules are imported."""
    importlib.import_module("bcdseg.training.engine")
    data = bcdseg.open_dataset(SAMPLE)
    parts = bcdseg.split(data, (0.6, 0.4, 0.0))
    model = bcdseg.create("plain_cnn", classes=data.classes, size=64, decoder_channels=(16, 8, 8, 4, 4))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return count(
            lambda: bcdseg.fit(model, parts.train, parts.val, out=Path(folder) / "run", epochs=1, progress=False, workers=0)
        )


def show(name: str, counts: Counts, *, verbose: bool) -> None:
    calls = sum(counts.functions.values())
    print(f"{name}: {len(counts.functions)} functions ({calls} calls) in {len(counts.files)} files")
    if counts.forward:
        files = len({code.co_filename for code in counts.forward})
        print(
            f"  at the forward pass: {len(counts.forward)} frames in {files} files "
            f"({' > '.join(code.co_name for code in counts.forward)}); {counts.at_forward} files called until then"
        )
    if verbose:
        for path in counts.files:
            own = [code for code in counts.functions if code.co_filename == PACKAGE + path]
            print(f"  {path}: {', '.join(f'{code.co_name} x{counts.functions[code]}' for code in own)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbose", action="store_true", help="list the functions of each file")
    options = parser.parse_args()
    show("predict(array)", prediction(), verbose=options.verbose)
    show("fit to the first optimiser step", training(), verbose=options.verbose)
    print(GOALS)


if __name__ == "__main__":
    main()
