"""Outline and classify the sample scans, look at one, and compare all with the masks of the data set.

python examples/01_predict_and_look.py
"""

from __future__ import annotations

from pathlib import Path

import bcdseg
from bcdseg.data.masks import read_mask

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
OUT = Path("example-output")

model = bcdseg.load()
print(model)

one = model.predict(SAMPLE / "benign" / "benign (2).png")
print(one)
print({name: f"{value:.0%}" for name, value in one.probabilities.items()})
print("files:", *one.save(OUT, overwrite=True), sep="\n  ")

print("\nagainst the masks that came with the scans:")
for scan in model.predict(SAMPLE):
    source = Path(scan.source)
    truth = read_mask([source.with_name(f"{source.stem}_mask.png")], scan.size)
    both, total = (scan.mask & truth).sum(), scan.mask.sum() + truth.sum()
    agreement = "nothing to outline, nothing outlined" if total == 0 else f"Dice {2 * both / total:.2f}"
    flags = "".join(f"  ! {flag}" for flag in scan.flags)
    print(f"{source.name:20} is {source.parent.name:10} predicted {scan.label:10} {scan.confidence:4.0%}  {agreement}{flags}")
