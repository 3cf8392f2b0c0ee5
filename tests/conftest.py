"""Common fixtures of the tests: a small model, a drawn scan, and no network."""

from __future__ import annotations

import os

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["BCDSEG_RUNTIME"] = "torch"  # other runtimes convert each model once, which takes seconds
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, on tiny networks that threads make no faster

import gc
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from drawn import draw_scan
from hypothesis import settings
from numpy.typing import NDArray

import bcdseg

gc.disable()  # until the tests are collected: it would visit the objects of all imported modules again and again

settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("quick")


def pytest_collection_finish() -> None:
    """Let the garbage collector visit what the tests create, less often, and never again the modules that are imported by now."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # some modules report what is not collected at the end


@pytest.fixture(scope="session", autouse=True)
def _no_handler_of_ended_workers() -> None:
    """Let torch's loaders look for workers that ended.

    Some virtual machines kill a process in which AMX was used (bf16 and int8 of OpenVINO) as soon as a signal's handler is to run.
    """
    from torch.utils.data._utils import signal_handling

    signal_handling._SIGCHLD_handler_set = True


@pytest.fixture(scope="session", autouse=True)
def _small_figures() -> None:
    """Draw the figures of reports and runs small."""
    from bcdseg.evaluation.plots import style

    style.DPI = 75


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test that connects to a network fail immediately, on any machine."""
    resolve = socket.getaddrinfo

    def local(host: object, *args: object, **options: object) -> object:
        if host not in ("127.0.0.1", "localhost", "::1", None):
            raise socket.gaierror(f"tests have no network, requested {host}")
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", local)


@pytest.fixture(scope="session")
def small_model() -> bcdseg.Model:
    """Return a model with random weights that is quick to run; its predictions are meaningless, but their form is right."""
    import torch

    torch.manual_seed(0)
    return bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=64, decoder_channels=(32, 16, 16, 8, 8))


@pytest.fixture
def scan() -> NDArray[np.uint8]:
    return draw_scan(0)


class Ended(NamedTuple):
    """Result of a program: its output and its exit status."""

    returncode: int | str | None
    stdout: str
    stderr: str


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Return a function that runs ``bcdseg ARGUMENTS`` in this process, since a new one takes seconds to import torch."""

    def run(*arguments: object) -> Ended:
        from bcdseg.cli import main

        monkeypatch.setattr(sys, "argv", ["bcdseg", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the names that a test registers after the test; the library's own names are registered before."""
    import bcdseg.data.opening
    import bcdseg.export.formats
    import bcdseg.runtimes.choice
    import bcdseg.training.engine  # noqa: F401
    from bcdseg.registry import KINDS

    for registry in KINDS.values():
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))
