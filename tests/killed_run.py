"""A run that is killed in the middle of its third epoch, started as a program: python killed_run.py DATA OUT."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import bcdseg
from bcdseg.training.loop.task import SegmentationClassificationTask

OPTIONS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 4,
    "workers": 0,
    "cache": "none",
    "augment": "light",
    "mix": "mixup",
    "schedule": "cosine",
    "warmup_epochs": 1,
    "accumulate": 2,
    "ema": 0.9,
    "task_weights": "learned",
    "calibrate": False,
    "pictures": False,
    "progress": False,
    "device": "cpu",
}


def parts(folder: Path) -> tuple[bcdseg.Dataset, bcdseg.Dataset]:
    data = bcdseg.open_dataset(folder)
    chosen = [one for at, one in enumerate(data.ids) if not at % 4]
    return data.select(set(data.ids) - set(chosen)), data.select(chosen)


def model(**options: Any) -> bcdseg.Model:
    torch.manual_seed(0)
    given = {"classes": ["normal", "benign", "malignant"], "size": 32, "decoder_channels": (16, 8, 8, 8, 8), **options}
    return bcdseg.create("plain_cnn", **given)


def kill(task: SegmentationClassificationTask, _outputs: Any, _batch: Any, number: int) -> None:
    if (task.epoch, number) == (2, 1):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    SegmentationClassificationTask.on_train_batch_end = kill
    bcdseg.fit(model(), *parts(Path(sys.argv[1])), out=sys.argv[2], **OPTIONS)
