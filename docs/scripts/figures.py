"""Pictures of the pages, drawn from the bundled model and the sample scans when the site is built."""

from __future__ import annotations

import html
import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import design
import numpy as np
from PIL import Image, ImageDraw

import bcdseg
from bcdseg.data.masks import dice, read_mask
from bcdseg.inference.render import OUTLINE

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
FIRST = SAMPLE / "benign" / "benign (2).png"
HEIGHT = 320  # of each picture in a row
Pictures = dict[str, bytes]


@cache
def predicted(scan: Path = FIRST) -> bcdseg.Prediction:
    """Return the prediction of the default model for a scan, with its heat map."""
    return _model().predict(scan, explain=True)


def true_mask() -> np.ndarray:
    """Return the true mask of the first scan."""
    return read_mask([FIRST.with_name(f"{FIRST.stem}_mask.png")], predicted().size)


def first_look() -> str:
    """Return the home page's picture: scan and outline as images, class and size as text for screen readers."""
    prediction = predicted()
    bars = "".join(_bar(name, value) for name, value in prediction.probabilities.items())
    sizes = "".join(
        f"<li>{lesion.long_axis_px:.0f} x {lesion.short_axis_px:.0f} pixels, taller than wide: {lesion.taller_than_wide:.2f}</li>"
        for lesion in prediction.lesions
    )
    warnings = "".join(f"<li>{html.escape(flag.message)}</li>" for flag in prediction.flags) or "<li>none</li>"
    return f"""<div class="first-look" markdown>
<figure markdown>![The original scan](figures/scan.webp)<figcaption>scan</figcaption></figure>
<figure markdown>![The same scan with its lesion outlined and the axes drawn](figures/outlined.webp)
<figcaption>outline</figcaption></figure>
<div><p class="what">class</p>{bars}<p class="what">size</p><ul>{sizes}</ul><p class="what">warnings</p><ul>{warnings}</ul></div>
</div>"""


def _bar(name: str, value: float) -> str:
    return (
        f'<div class="bar"><span>{html.escape(name)}</span><meter min="0" max="1" value="{value:.3f}" aria-label="{name}"></meter>'
        f"<span>{value:.0%}</span></div>"
    )


def scan_and_outline() -> Pictures:
    """Draw the home page's scan, without and with its outline."""
    return {"scan.webp": _webp(Image.fromarray(predicted().image)), "outlined.webp": _webp(predicted().overlay())}


def one_of_each() -> Pictures:
    """Draw the overlay of one scan of each class."""
    scans = (SAMPLE / "normal" / "normal (12).png", FIRST, SAMPLE / "malignant" / "malignant (30).png")
    return {"one-of-each.webp": _row([(predicted(scan).overlay(), f"{scan.stem}: {predicted(scan).label}") for scan in scans])}


def heat() -> Pictures:
    """Draw an outline and the heat map of its class."""
    return {
        "heat.webp": _row(
            [(predicted().overlay(), "outline"), (predicted().heat_overlay(), f"Grad-CAM of {predicted().explained}")]
        )
    }


def twins() -> Pictures:
    """Draw a scan and a copy as found in public data sets, with the audit's score of the pair."""
    scan = Image.open(FIRST).convert("L")
    width, height = scan.size
    copy = scan.crop((width // 12, height // 14, width, height)).resize((round(width * 0.8), round(height * 0.8)))
    copy = copy.point(lambda value: min(255, round(value * 1.25)))
    draw = ImageDraw.Draw(copy)
    rows, columns = np.nonzero(true_mask())
    y = (rows.mean() - height // 14) * 0.8 * height / (height - height // 14)
    for column in (columns.min(), columns.max()):
        x = (column - width // 12) * 0.8 * width / (width - width // 12)
        draw.line([(x - 7, y), (x + 7, y)], fill=255, width=2)
        draw.line([(x, y - 7), (x, y + 7)], fill=255, width=2)
    with tempfile.TemporaryDirectory() as folder:
        for name, picture in (("a", scan), ("b", copy)):
            (Path(folder) / "benign").mkdir(exist_ok=True)
            picture.save(Path(folder) / "benign" / f"{name}.png")
        pairs = bcdseg.audit(bcdseg.open_dataset(folder, layout="class_folders"), cache=False).pairs
    return {"twins.webp": _row([(scan, "a scan"), (copy, f"cropped, brighter, calipers: score {pairs[0].score:.2f}")])}


def overlaps() -> Pictures:
    """Draw a true outline, and the same outline moved to a Dice of 0.9, 0.75 and 0.5."""
    truth, shown = true_mask(), []
    for goal in (0.9, 0.75, 0.5):
        step = min(range(truth.shape[1]), key=lambda by: abs(dice(np.roll(truth, by, axis=1), truth) - goal))
        moved = np.roll(truth, step, axis=1)
        picture = np.array(Image.open(FIRST).convert("RGB"))
        for mask, colour in ((truth, (86, 180, 233)), (moved, OUTLINE)):
            picture[_edge(mask)] = colour
        shown.append((Image.fromarray(picture), f"Dice {dice(moved, truth):.2f}"))
    return {"dice.webp": _row(shown)}


def network() -> Pictures:
    """Draw the layers of the bundled model's network."""
    from bcdseg.model.diagram import draw_diagram

    return {"network.svg": draw_diagram(_model()).encode()}


def reliability() -> Pictures:
    """Draw the reliability of an overconfident network before and after temperature scaling, from random numbers."""
    from bcdseg.evaluation.metrics.calibration import reliability as bins
    from bcdseg.evaluation.plots.curves import reliability_figure
    from bcdseg.evaluation.plots.style import figure_bytes

    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (2000, 3))
    truth = np.array([rng.choice(3, p=row) for row in _softmax(honest)])
    right = honest.argmax(axis=1) == truth
    figures = [reliability_figure(bins(right, _softmax(honest * scale).max(axis=1))) for scale in (2.5, 1)]
    pictures = [Image.open(io.BytesIO(figure_bytes(figure))).convert("RGB") for figure in figures]
    return {"reliability.webp": _row(list(zip(pictures, ("overconfident", "the same, calibrated"), strict=True)), height=420)}


def packages() -> Pictures:
    """Draw the packages of the library, and the path of three calls through them."""
    return {"packages.svg": design.picture().encode()}


FIGURES: tuple[Callable[[], Pictures], ...] = (scan_and_outline, one_of_each, heat, twins, overlaps, network, reliability, packages)


@cache
def _model() -> bcdseg.Model:
    return bcdseg.load(device="cpu", runtime="torch")


def _row(pictures: list[tuple[Image.Image, str]], height: int = HEIGHT) -> bytes:
    """Join pictures side by side at one height, each with its caption below."""
    scaled = [picture.convert("RGB").resize((round(picture.width * height / picture.height), height)) for picture, _ in pictures]
    gap, line = 12, 34
    row = Image.new("RGB", (sum(one.width + gap for one in scaled) - gap, height + line), "white")
    draw, left = ImageDraw.Draw(row), 0
    for one, (_, caption) in zip(scaled, pictures, strict=True):
        row.paste(one, (left, 0))
        draw.text((left + one.width / 2, height + line / 2), caption, fill="black", anchor="mm", font_size=21)
        left += one.width + gap
    return _webp(row)


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def _edge(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_dilation, binary_erosion

    return binary_dilation(mask, iterations=2) & ~binary_erosion(mask, iterations=2)


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
