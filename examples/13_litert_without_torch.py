"""Run a LiteRT file with numpy, ai-edge-litert and Pillow alone, as a small board would: neither torch nor bcdseg is imported.

bcdseg export --out model.tflite && python examples/13_litert_without_torch.py model.tflite scan.png
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

model, scan = sys.argv[1:]
facts = json.loads(zipfile.ZipFile(model).read("bcdseg.json"))
run = Interpreter(model, num_threads=2).get_signature_runner()
canvas = np.zeros(run.get_input_details()["scan"]["shape"], np.uint8)  # 1 x 1024 x 1024
picture = Image.open(scan).convert("L")
picture.thumbnail(canvas.shape[:0:-1])  # only what is larger than that
height, width = picture.height, picture.width
canvas[0, :height, :width] = np.asarray(picture)
found = run(scan=canvas, size=np.array([height, width], np.int32))
for name, probability in zip(json.loads(facts["classes"]), found["probabilities"][0], strict=True):
    print(f"{name:10} {probability:.0%}")
print(f"outlined: {found['mask'][0, :height, :width].mean():.1%} of the scan")
