"""Train a joint model from random weights, look at the run, save the model and predict with it.

python examples/03_train_and_look.py [FOLDER] [EPOCHS]

On the sample scans it is done in a moment and has learned next to nothing. On BUSI (bcdseg data fetch busi) give it 15 epochs
or more; the column ``seconds`` of metrics.csv contains the duration of each epoch on your machine.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import bcdseg

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "sample"
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
out = Path("example-output/trained")
shutil.rmtree(out, ignore_errors=True)

data = bcdseg.open_dataset(folder)
train, val, test = bcdseg.split(data, (0.6, 0.2, 0.2), seed=0)
print(data)

model = bcdseg.create("plain_cnn", classes=data.classes, size=128, decoder_channels=(64, 48, 32, 24, 16))
print(model)

run = bcdseg.fit(model, train, val, out=out, epochs=epochs, batch_size=8, progress=sys.stderr.isatty())
print(f"best of {len(run.history)} epochs: number {run.best_epoch}, joint score {run.best_score:.2f} on the validation scans")
for row in run.history:
    print("  " + ", ".join(f"{name} {row[name]:.3f}" for name in ("mask_loss", "class_loss", "val_dice", "joint") if name in row))
print("to look at:", *(out / name for name in ("curves.png", "worst.png", "confusion.png")), sep="\n  ")

model = bcdseg.load(out / "model")
for sample in test:
    print(sample.label, "->", model.predict(sample.image))
