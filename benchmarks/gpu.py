"""Speed of prediction and training on a CUDA device, in one table: scans per second, share of the device's peak, idle time.

    python benchmarks/gpu.py [--device cuda] [--seconds 4] [--out TABLE.md]

``make gpu`` runs the tests that need a CUDA device first. On a CPU (``--device cpu --seconds 0.1``) a small version
of the same table is made, to check the script: its rates are those of the CPU.

- *one scan*: ``Model.predict`` of one scan after another, from the decoded array to the prediction.
- *folder*: the stream of ``Model.predict`` over many scans, in batches.
- *network*: the forward pass alone, on ready tensors on the device, in batches of 64.
- *tiles*: a scan of 4096 x 3072 pixels in windows.
- *training step*: forward pass, joint loss, backward pass and optimiser step on ready tensors, 32 scans of 160 x 160.

*Share of peak* is the number of floating-point operations per second over that of a matrix product of 4096 x 4096 in the same
precision. *Idle* is the fraction of a folder's time in which no kernel runs (from the profiler): the device waits for the host.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import bcdseg
from bcdseg.training.losses import JointLoss, Truth

MODEL, SIZE, BATCH = "bus-multi", 160, 64
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SCAN, LARGE = (471, 562), (3072, 4096)


@dataclass(frozen=True)
class Setting:
    """Precision and runtime of the network.

    Attributes:
        precision: ``fp32``, ``tf32``, ``fp16`` or ``bf16``.
        runtime: ``torch``, which records CUDA graphs on a CUDA device, or ``compile``.
    """

    precision: str
    runtime: str

    def load(self, device: str) -> bcdseg.Model:
        """Return the bundled model with this setting."""
        precision = "fp32" if self.precision == "tf32" else self.precision
        return bcdseg.load(MODEL, device=device, runtime=self.runtime, precision=precision)


SETTINGS = [Setting(precision, runtime) for runtime in ("torch", "compile") for precision in DTYPES]


@contextmanager
def matrix_precision(name: str) -> Iterator[None]:
    """Allow TF32 in matrix products and convolutions, or not."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def wait(device: str) -> None:
    """Wait until the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def per_second(work: Callable[[], Any], device: str, seconds: float) -> float:
    """Return how often work is done per second, after a warm-up."""
    for _ in range(3 if device.startswith("cuda") else 1):
        work()
    wait(device)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work()
        done += 1
    wait(device)
    return done / (time.perf_counter() - start)


def peak(precision: str, device: str, seconds: float) -> float:
    """Return the floating-point operations per second of a large matrix product."""
    side = 4096 if device.startswith("cuda") else 1024
    matrix = torch.randn(side, side, device=device, dtype=DTYPES[precision])
    with matrix_precision(precision):
        return 2 * side**3 * per_second(lambda: matrix @ matrix, device, seconds)


def operations(network: torch.nn.Module, device: str) -> float:
    """Return the floating-point operations of the forward pass of one scan."""
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        network(torch.zeros(1, 1, SIZE, SIZE, device=device))
    return float(counted.get_total_flops())


def network_rate(model: bcdseg.Model, setting: Setting, device: str, seconds: float) -> float:
    """Return scans per second of the forward pass alone."""
    network: Any = model.network.to(device).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if setting.runtime == "compile":
        network = torch.compile(network)
    dtype = DTYPES[setting.precision]
    images = torch.randn(BATCH, 1, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    lower = torch.autocast(device.split(":")[0], dtype) if dtype != torch.float32 else nullcontext()
    with matrix_precision(setting.precision), torch.inference_mode(), lower:
        return BATCH * per_second(lambda: network(images), device, seconds)


def training_rate(setting: Setting, device: str, seconds: float) -> float:
    """Return scans per second of a training step on ready tensors."""
    network: Any = bcdseg.load(MODEL, device=device, runtime="torch").network
    network = network.to(device).train().to(memory_format=torch.channels_last)
    run = torch.compile(network) if setting.runtime == "compile" else network
    loss = JointLoss()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=device.startswith("cuda"))
    count, dtype = 32, DTYPES[setting.precision]
    images = torch.randn(count, 1, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    masks = (torch.rand(count, 1, SIZE, SIZE, device=device) > 0.9).float()
    truth = Truth(masks, torch.ones(count, dtype=torch.bool, device=device), torch.arange(count, device=device) % 3)
    scaler = torch.amp.GradScaler(device.split(":")[0], enabled=setting.precision == "fp16" and device.startswith("cuda"))

    def step() -> None:
        with torch.autocast(device.split(":")[0], dtype) if dtype != torch.float32 else nullcontext():
            output = run(images)
        total = loss(output, truth).total
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(total).backward()
        scaler.step(optimiser)
        scaler.update()

    with matrix_precision(setting.precision):
        return count * per_second(step, device, seconds)


def idle(model: bcdseg.Model, scans: list[Any], device: str) -> str:
    """Return the fraction of a stream's time in which no kernel runs on the device; '-' without CUDA."""
    if not device.startswith("cuda"):
        return "-"
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        start = time.perf_counter()
        for _ in model.predict(scans):
            pass
        torch.cuda.synchronize()
        spent = time.perf_counter() - start
    busy = sum(event.device_time_total for event in profiled.key_averages()) / 1e6
    return f"{max(0.0, 1 - busy / spent):.0%}"


def row(setting: Setting, device: str, seconds: float) -> str:
    """Return the row of a setting."""
    rng = np.random.default_rng(0)
    scan = rng.integers(0, 255, SCAN, np.uint8)
    cuda = device.startswith("cuda")
    many, large = [scan] * (4 * BATCH if cuda else 4), rng.integers(0, 255, LARGE if cuda else SCAN, np.uint8)
    model = setting.load(device)
    with matrix_precision(setting.precision):
        one = per_second(lambda: model.predict(scan), device, seconds)
        folder = len(many) * per_second(lambda: list(model.predict(many)), device, seconds)
        tiles = per_second(lambda: model.predict(large, mode="tiles"), device, seconds)
        waiting = idle(model, many, device)
    network = network_rate(setting.load(device), setting, device, seconds)
    share = network * operations(setting.load(device).network.to(device), device) / peak(setting.precision, device, min(seconds, 1))
    training = training_rate(setting, device, seconds)
    cells = [f"{one:.1f}", f"{folder:.0f}", waiting, f"{network:.0f}", f"{share:.1%}", f"{tiles:.2f}", f"{training:.0f}"]
    return f"| {setting.runtime} | {setting.precision} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each figure")
    parser.add_argument("--settings", nargs="*", help="such as torch/fp16; by default all")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.exit(0, "There is no CUDA device here: nothing to measure. --device cpu checks the script.\n")
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    columns = ["one scan", "folder", "idle", "network", "share of peak", "tiles", "training step"]
    lines = [
        f"{MODEL}, {name}, torch {torch.__version__}; scans per second\n",
        "| runtime | precision | " + " | ".join(columns) + " |",
    ]
    lines.append("|---" * (2 + len(columns)) + "|")
    print(*lines, sep="\n", flush=True)
    for setting in SETTINGS:
        if options.settings and f"{setting.runtime}/{setting.precision}" not in options.settings:
            continue
        lines.append(row(setting, options.device, options.seconds))
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
