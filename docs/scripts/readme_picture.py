"""Draw the picture at the top of the README: three predictions of the default model, on scans that it was not trained on.

python docs/scripts/readme_picture.py docs/figures/predictions.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import bcdseg

SCANS = ("normal/normal (12).png", "benign/benign (2).png", "malignant/malignant (30).png")
HEIGHT, GAP, CAPTION = 300, 12, 40


def picture() -> Image.Image:
    """Return the overlays side by side, each with its predicted class above and its true class below."""
    model = bcdseg.load()
    font = ImageFont.load_default(17)
    panels = []
    for name in SCANS:
        scan = model.predict(bcdseg.sample_scans() / name)
        overlay = scan.overlay()
        panel = overlay.resize((round(overlay.width * HEIGHT / overlay.height), HEIGHT))
        panels.append((panel, f"predicted: {scan.label}, {scan.confidence:.0%}    truth: {Path(name).parent}"))
    width = sum(panel.width for panel, _ in panels) + GAP * (len(panels) - 1)
    whole = Image.new("RGB", (width, HEIGHT + CAPTION), "white")
    draw, left = ImageDraw.Draw(whole), 0
    for panel, text in panels:
        whole.paste(panel, (left, 0))
        draw.text((left + panel.width / 2, HEIGHT + CAPTION / 2), text, "black", font, anchor="mm")
        left += panel.width + GAP
    return whole


if __name__ == "__main__":
    picture().save(sys.argv[1], optimize=True)
