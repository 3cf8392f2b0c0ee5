"""Time of an epoch of each recipe on this machine: one training step of the network, in processor time."""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from plan import RunPlan, data_of

import bcdseg
from bcdseg.training.recipes import Recipe

BATCH = 8
TRAINED = {"busi256": {2: 370, 3: 448}, "mias150": {2: 83}}  # scans of a training part, by number of classes


def estimate(recipes: Iterable[str]) -> str:
    """Return a Markdown table of seconds per epoch and hours per run."""
    lines = ["| recipe | ms per scan | seconds per epoch | epochs run of claimed | minutes per run |", "|---|---|---|---|---|"]
    for name in recipes:
        run, recipe = RunPlan(name, data_of(name), "random", 0), bcdseg.recipe(name)
        step = step_seconds(recipe.from_scratch(), run.entry.precision)
        claimed = recipe.config().epochs
        epochs = min(run.entry.epochs, claimed)
        epoch = step * TRAINED[run.data][len(recipe.classes or (1, 2, 3))]
        lines.append(f"| {name} | {step * 1000:.0f} | {epoch:.0f} | {epochs} of {claimed} | {epoch * epochs / 60:.0f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def step_seconds(recipe: Recipe, precision: str) -> float:
    """Return the processor seconds that the network takes to learn from one scan; reading and augmenting come on top."""
    model = recipe.model(recipe.classes or ("normal", "benign", "malignant"))
    network = model.network.train().to(memory_format=torch.channels_last)
    side = -(-model.preprocessing.size[0] // 32) * 32
    scans = torch.rand(BATCH, model.preprocessing.channels, side, side).to(memory_format=torch.channels_last)
    frozen = recipe.config().freeze_encoder_epochs == -1
    for weight in network.encoder.parameters():
        weight.requires_grad_(not frozen)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs = [one.float().square().mean() for one in network(scans) if one is not None]
        torch.stack(outputs).sum().backward()

    step()
    start = time.process_time()
    step()
    return (time.process_time() - start) / BATCH
