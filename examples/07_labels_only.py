"""Learn from an archive that has labels and no outlines: first classes alone, then with a few outlines from elsewhere.

python examples/07_labels_only.py [LABELLED_FOLDER] [OUTLINED_FOLDER]

The labelled folder has a subfolder for each class. Without folders, the sample scans play both parts.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import bcdseg

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
labelled, outlined = sys.argv[1:3] if len(sys.argv) > 2 else (SAMPLE, SAMPLE)
out = Path("example-output/labels-only")
shutil.rmtree(out, ignore_errors=True)

labels = bcdseg.open_dataset(labelled, layout="class_folders")  # mask files are ignored
print(labels)
train, val, test = bcdseg.split(labels, (0.5, 0.25, 0.25), seed=0)
model = bcdseg.create("plain_cnn", classes=labels.classes, decoder=None, size=64)  # no decoder: no outlines
run = bcdseg.fit(model, train, val, out=out / "classes", epochs=1, batch_size=4, progress=False)
print(run.model.predict(test[0].image))

masks = bcdseg.open_dataset(outlined)
both = bcdseg.combine(labels, masks.select(masks.ids[::2]))  # ids and groups get their data set's name in front
print(both)
train, val, test = bcdseg.split(both, (0.5, 0.25, 0.25), seed=0)  # copies of a scan stay in one part, whatever their names
model = bcdseg.create("plain_cnn", classes=both.classes, size=64, decoder_channels=(64, 48, 32, 24, 16))
run = bcdseg.fit(model, train, val, out=out / "both", epochs=1, batch_size=4, progress=False)
print(run.model.predict(test[0].image))
