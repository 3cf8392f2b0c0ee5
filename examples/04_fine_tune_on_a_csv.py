"""Fine-tune the bundled model on scans of your own that are listed in a table, with classes of your own.

python examples/04_fine_tune_on_a_csv.py [TABLE.csv]

Without a table, one is made of the sample scans: two classes that the model wasn't trained on, and masks for some scans only.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import bcdseg

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
OUT = Path("example-output/fine-tuned")
shutil.rmtree(OUT, ignore_errors=True)


def make_table(path: Path) -> Path:
    """Write a table as a clinic might have it: every scan has a label, every second lesion an outline."""
    rows = ["image,mask,label"]
    for folder, label in (("normal", "normal"), ("benign", "lesion"), ("malignant", "lesion")):
        for number, mask in enumerate(sorted((SAMPLE / folder).glob("*_mask.png"))):
            image = mask.with_name(mask.name.replace("_mask", ""))
            rows.append(f"{image},{mask if number % 2 == 0 else ''},{label}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


data = bcdseg.open_dataset(sys.argv[1] if len(sys.argv) > 1 else make_table(Path("example-output/scans.csv")))
train, val, test = bcdseg.split(data, (0.6, 0.2, 0.2), seed=0)
print(data)

model = bcdseg.load()
run = bcdseg.fit(
    model,
    train,
    val,
    out=OUT,
    epochs=2,
    batch_size=4,
    lr=3e-4,
    augment="light",
    freeze_encoder_epochs=1,  # the new class head first
    progress=sys.stderr.isatty(),
)
print(f"was: {', '.join(model.classes)}    is: {', '.join(run.model.classes)}")
print(run)

for sample in test:
    print(sample.label, "->", run.model.predict(sample.image))
