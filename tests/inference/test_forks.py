"""Forked processes predict and exit, whichever runtime their parent has used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bcdseg

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")]

PATIENCE = 300  # seconds, after which the system ends a process that hangs

SCRIPT = """
import multiprocessing, os, signal, sys, threading, warnings

import bcdseg
from drawn import draw_scan

folder, runtime, patience = sys.argv[1], sys.argv[2], int(sys.argv[3])
scans = [draw_scan(seed, (40, 60)) for seed in range(4)]
model = bcdseg.load(folder, runtime=runtime)
expected = [scan.probabilities for scan in model.predict(scans)]
model.predict(scans[0])


def check(model):
    signal.alarm(patience)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = [model.predict(scan).probabilities for scan in scans]
        found += [scan.probabilities for scan in model.predict(scans)]
    close = all(abs(a[name] - b[name]) < 1e-4 for a, b in zip(found, expected * 2, strict=True) for name in a)
    return close, [f"{warning.category.__name__} {warning.message}" for warning in warned]


def load_and_check(_):
    return check(bcdseg.load(folder, runtime=runtime))


def fork(work):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(patience)
    sys.exit(work())  # the interpreter's whole end, destructors included


def inherited():
    close, warned = check(model)
    return 0 if close and len(warned) == 1 and "forked" in warned[0] and warned[0].startswith("RuntimeFallbackWarning") else 1


print("idle", fork(lambda: 0))
print("inherited", fork(inherited))
print("child of a child", fork(lambda: fork(inherited)))
with multiprocessing.get_context("fork").Pool(2) as pool:
    print("pool", {close for close, _ in pool.map_async(load_and_check, range(2), chunksize=1).get(patience)})

stop, started = threading.Event(), threading.Event()

def keep_streaming():
    while not stop.is_set():
        for _ in model.predict(scans):
            started.set()

thread = threading.Thread(target=keep_streaming)
thread.start()
started.wait()
print("while streaming", [fork(inherited) for _ in range(2)])
stop.set()
thread.join()
print("parent", check(model))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = bcdseg.create("plain_cnn", classes=["a", "b", "c"], size=32, decoder_channels=(16, 8, 8, 4, 4))
    rules = bcdseg.Rules(threshold=0.47)  # random masks are around 0.5, where the smallest difference turns a pixel over
    return bcdseg.Model(made.network, made.preprocessing, rules).save(tmp_path_factory.mktemp("model") / "small")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_children_of_a_process_that_has_streamed_predict_on_torch_and_exit(folder: Path, tmp_path: Path, runtime: str) -> None:
    surroundings = {**os.environ, "BCDSEG_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(folder), runtime, str(PATIENCE)]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=6 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "idle 0",
        "inherited 0",
        "child of a child 0",
        "pool {True}",
        "while streaming [0, 0]",
        "parent (True, [])",
    ], done.stderr
