"""Cross-validate: train on each part of the folds, predict what was left out, and report all scans together.

python examples/05_cross_validate_and_report.py [FOLDER] [EPOCHS]

Each scan is predicted by the one model that was not trained on it. The sample scans are few and the networks small, so the script
takes a moment, and its figures are poor. On a data set of your own, `bcdseg benchmark` does all this and resumes after a stop.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import bcdseg

folder = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "data" / "sample"
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 1
out = Path("example-output/cross-validated")
shutil.rmtree(out, ignore_errors=True)

data = bcdseg.open_dataset(folder)
for number, (rest, test) in enumerate(bcdseg.folds(data, k=2, seed=0), 1):
    train, val = bcdseg.folds(rest, k=2, seed=number)[0]
    model = bcdseg.create("plain_cnn", classes=data.classes, size=64, decoder_channels=(64, 48, 32, 24, 16))
    run = bcdseg.fit(model, train, val, out=out / f"fold-{number}", epochs=epochs, pictures=False, progress=False)
    for sample, scan in zip(test, run.model.predict([sample.image for sample in test]), strict=True):
        place = out / "predictions" / Path(sample.id)
        scan.save(place.parent, name=place.stem, overlay=False)
    print(f"fold {number}: trained on {len(train)}, chosen by {len(val)}, {len(test)} predicted")

report = bcdseg.evaluate_predictions(out / "predictions", data, out=out / "report", draws=200)
print(report)
print("to look at:", out / "report" / "report.html")
