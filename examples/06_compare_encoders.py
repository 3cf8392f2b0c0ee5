"""Compare encoders on the same folds: which one is better, by how much, and is the difference more than luck?

python examples/06_compare_encoders.py [FOLDER] [EPOCHS]

Everything but the encoder is the same. The sample scans are too few: no difference is shown, as it should be.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import bcdseg

folder = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "sample"
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 1
out = Path("example-output/encoders")
shutil.rmtree(out, ignore_errors=True)

data = bcdseg.open_dataset(folder)
base = bcdseg.recipe("cnn-3class+mask")
recipes = [
    replace(base, name=encoder, summary=f"The same with {encoder}.", network={**base.network, "encoder": encoder})
    for encoder in ("plain_cnn", "mobilenet_v2")
]
result = bcdseg.benchmark(data, recipes, folds=2, out=out, size=64, draws=200, epochs=epochs, pictures=False, progress=False)
for entry in result.entries:
    print(entry.recipe, entry.estimates["dice"], entry.estimates["balanced_accuracy"], sep="\n  ")
pair = result.compare("plain_cnn", "mobilenet_v2")
for measure in ("dice", "balanced_accuracy"):
    print(pair.differences[measure].sentence(pair.first, pair.second))
print("to read:", out / "benchmark.md")
