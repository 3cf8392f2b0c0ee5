"""Run an exported model with numpy, onnxruntime and Pillow alone: neither torch nor bcdseg is imported.

bcdseg export --out model.onnx && python examples/08_onnx_without_torch.py model.onnx scan.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

model, scan = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
pixels = np.asarray(Image.open(scan).convert("L"))
_, mask, probabilities = session.run(["mask_probability", "mask", "probabilities"], {"scan": pixels[None]})
for name, probability in zip(json.loads(facts["classes"]), probabilities[0], strict=True):
    print(f"{name:10} {probability:.0%}")
print(f"outlined: {mask[0].mean():.1%} of the scan")
