"""Predictions of the library for the tests of the static page: inputs and outputs as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from drawn import draw_ellipse, draw_star, draw_tissue
from PIL import Image
from scipy.ndimage import gaussian_filter

import bcdseg
from bcdseg.app.responses import edges, facts, levels
from bcdseg.app.reviews.review import priority
from bcdseg.data.images import to_gray
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.inference.lesions import find_lesions
from bcdseg.inference.out_of_distribution import image_statistics
from bcdseg.inference.postprocess import Postprocessing
from bcdseg.inference.refinement import RefinedRegion, main_window
from bcdseg.inference.regions import RegionOutput, WholeRegion
from bcdseg.inference.rules import OperatingPoint, Rules
from bcdseg.inference.writers import csv_bytes, table_rows
from bcdseg.runtimes.base import ClassScores, RawOutput
from bcdseg.types import Area, ScanImage

SAMPLES = sorted((Path(bcdseg.__file__).parent / "app/samples").glob("*.png"))
RANDOM = np.random.default_rng(3)
CLASSES = ("normal", "benign", "malignant")


def _coded(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _pixels(image: Any) -> dict[str, Any]:
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    rgba = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], axis=2)
    return {"width": image.shape[1], "height": image.shape[0], "rgba": _coded(rgba), "gray": _coded(to_gray(image))}


def _smooth(size: tuple[int, int], sigma: float) -> Any:
    """Return a map of blobs from 0 to 1, with some exact hundredths."""
    values = gaussian_filter(RANDOM.normal(size=size), sigma)
    spread = ((values - values.min()) / (values.max() - values.min())).astype(np.float32)
    return np.where(RANDOM.random(size) < 0.1, np.round(spread, 2), spread).astype(np.float32)


def _images() -> dict[str, Any]:
    """Return scans of many kinds; each has a warning of its own, or none."""
    scans = {path.stem: np.asarray(Image.open(path).convert("L").resize((210, 170))) for path in SAMPLES}
    speckle = np.clip(RANDOM.gamma(4, 25, (90, 130)), 0, 255).astype(np.uint8)
    first = next(iter(scans.values()))
    return scans | {
        "tiny.png": speckle[:40, :50],
        "blank.png": np.full((80, 90), 60, np.uint8),
        "white.png": np.where(speckle > 80, np.uint8(255), speckle),
        "dark.png": np.where(speckle > 250, speckle, np.uint8(0)),
        "colour.png": RANDOM.integers(0, 255, (70, 95, 3), dtype=np.uint8),
        "upside down.png": first[::-1],
        "large.png": np.asarray(Image.fromarray(first).resize((1217, 1003))),
        '=1+1,"a".png': speckle,
    }


def lesions() -> list[dict[str, Any]]:
    """Return masks with their components and measurements."""
    cases = []
    for number in range(24):
        size = (int(RANDOM.integers(20, 90)), int(RANDOM.integers(20, 90)))
        probability = _smooth(size, (0.0, 0.7, 2.0, 5.0)[number % 4])
        mask = probability >= 0.5
        least, spacing = (0.0, 0.002, 0.02)[number % 3], (None, 0.13)[number % 2]
        kept, found = find_lesions(mask, probability, min_share=least, spacing=None if spacing is None else (spacing, spacing))
        cases.append(
            {
                "width": size[1],
                "height": size[0],
                "probability": _coded(probability),
                "mask": edges(mask),
                "minShare": least,
                "spacing": spacing,
                "kept": edges(kept),
                "lesions": [asdict(one) for one in found],
                "sizes": [str(one) for one in found],
            }
        )
    return cases


def appearances() -> list[dict[str, Any]]:
    """Return scans with outlines, and their lesions with the gray values in and around them; every descriptor occurs."""
    cases = []
    for number, (pixels, mask) in enumerate([*_drawn_lesions(), *_sample_lesions()]):
        spacing = (None, 0.13)[number % 2]
        given = None if spacing is None else (spacing, spacing)
        found = find_lesions(mask, mask.astype(np.float32), min_share=0.0005, spacing=given, pixels=pixels)[1]
        cases.append(
            {
                "width": mask.shape[1],
                "height": mask.shape[0],
                "gray": _coded(to_gray(pixels)),
                "mask": edges(mask),
                "minShare": 0.0005,
                "spacing": spacing,
                "lesions": [asdict(one) for one in found],
            }
        )
    return cases


def _drawn_lesions() -> Iterator[tuple[Any, Any]]:
    """Yield scans of tissue with black, dark, bright, mixed, blurred, cut, small, huge or many lesions, and their masks."""
    size = (240, 320)
    oval, columns = draw_ellipse(size, (90, 160), (30, 46)), np.arange(size[1])
    patchy = np.broadcast_to(np.where(columns // 18 % 2, 30.0, 120.0), size)
    half = np.broadcast_to(np.where(columns < 160, 2.0, 90.0), size)
    for inside in (3, 60, 120, 200, patchy, half):
        for behind in (1.0, 1.7, 0.5):
            yield draw_tissue(oval, inside, behind=behind), oval
    both_ways = draw_tissue(oval).astype(float)
    both_ways[121:] *= np.where(columns < 160, 0.5, 1.7)
    yield both_ways.clip(0, 255).astype(np.uint8), oval
    for blur in (1.5, 6.0, 15.0):
        yield draw_tissue(oval, blur=blur), oval
    several = draw_ellipse(size, (60, 60), (22, 30)) | draw_ellipse(size, (130, 210), (40, 60), 30)
    shapes = [
        draw_ellipse(size, *placed)
        for placed in (((90, 20), (30, 46)), ((215, 160), (30, 46)), ((90, 160), (5, 6)), ((90, 160), (6, 150)))
    ]
    for mask in (*shapes, draw_star(size, (100.3, 160.4), 55, points=7, depth=0.3), several):
        yield draw_tissue(mask, blur=1.0, behind=1.4), mask
    discs = np.any([draw_ellipse(size, (40 + 80 * (n % 3), 40 + 80 * (n // 3)), (12 + n, 12 + n)) for n in range(11)], axis=0)
    yield draw_tissue(discs, blur=1.0), discs
    huge = draw_ellipse((1003, 1217), (400, 600), (190, 260), 20)
    yield draw_tissue(huge, blur=4.0, behind=1.4), huge


def _sample_lesions() -> Iterator[tuple[Any, Any]]:
    """Yield sample scans with the masks of radiologists, in several sizes."""
    data = bcdseg.open_dataset(bcdseg.sample_scans())
    for number, sample in enumerate(data.filter(label=["benign", "malignant"])):
        size = [round(side * (0.6, 1.0, 1.4)[number % 3]) for side in data.read(sample)[0].shape[1::-1]]
        pixels, mask = (np.asarray(Image.fromarray(one).resize(size)) for one in data.read(sample) if one is not None)
        yield pixels, mask


def refinements() -> list[dict[str, Any]]:
    """Return maps of the whole scan and of the window around the main outline, and the refined map of both."""
    preprocessing, cases = Preprocessing(resize="none", stride=1), []
    for number in range(24):
        size = (int(RANDOM.integers(40, 600)), int(RANDOM.integers(40, 300)))
        rows, columns = np.ogrid[: size[0], : size[1]]
        middle, width = RANDOM.uniform(0, 1, 2) * size, RANDOM.uniform(0.02, 0.3) * max(size)
        lesion = np.exp(-(((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2) / width**2))
        first = np.clip(lesion + (_smooth(size, 3.0) - 0.5) * 0.3, 0, 1).astype(np.float32)
        region = WholeRegion("scan", np.zeros(size, np.uint8), preprocessing)
        output, window = RegionOutput(first, None, None, first.size, None), main_window(first, 1.6)
        enlarged = np.zeros((0, 0), np.float32)
        if window is not None:
            seen = first[window]
            agrees = number % 3 > 0
            enlarged = np.sqrt(seen) if agrees else np.roll(seen, (seen.shape[0] // 2, seen.shape[1] // 2), axis=(0, 1))
            refined = RefinedRegion(region, output, window, preprocessing)
            refined.add(RawOutput(enlarged, None))
            output = refined.result()
        sizes = {"width": size[1], "height": size[0], "has_window": window is not None}
        cases.append({**sizes, "first": _coded(first), "enlarged": _coded(enlarged), "refined": _coded(output.probability)})
    return cases


def predictions() -> list[dict[str, Any]]:
    """Return predictions by models with many kinds of rules."""
    model = bcdseg.load("bus-multi")
    own = model.rules
    bare = Rules(threshold=0.35, min_lesion_share=0.003)
    conformal = replace(own, conformal_coverage=0.9, conformal_thresholds=(0.3, 0.3, 0.3), presence_threshold=None)
    point = OperatingPoint(name="sensitivity 0.9", positive="malignant", threshold=0.1)
    kinds: list[tuple[Rules, tuple[str, ...], str | None, OperatingPoint | None, bool]] = [
        (own, CLASSES, "normal", None, True),
        (replace(own, operating_points=(point,)), CLASSES, "normal", point, True),
        (conformal, CLASSES, "normal", None, True),
        (bare, (), None, None, True),
        (bare, CLASSES[1:], None, None, True),
        (bare, CLASSES, "normal", None, False),
    ]
    cases = []
    for number, (name, image) in enumerate(_images().items()):
        for rules, classes, negative, chosen, has_mask in kinds[: 1 if name == "large.png" else None]:
            probability = _smooth(image.shape[:2], 6) if has_mask else None
            logits = RANDOM.normal(size=(1, len(classes))).astype(np.float32) * 2
            scores = ClassScores(logits, np.ones(1)) if classes else None
            spacing = (None, 0.07)[number % 2]
            given: dict[str, Any] = {} if spacing is None else {"spacing": (spacing, spacing), "spacing_from": "given"}
            area = Area(box=(0, 0, *image.shape[:2]), **given)
            scan = ScanImage(source=name, pixels=image, areas=(area,))
            steps = Postprocessing(rules=rules, classes=classes, no_lesion=negative, operating_point=chosen, model="made")
            made = steps(scan, [RegionOutput(probability, scores, None, float(image.shape[0] * image.shape[1]), None)])
            ruled = _Ruled(rules, classes, negative, model.training)
            prediction = facts(made, ruled, dicom=False) | {"priority": priority(made, ruled)._asdict()}  # type: ignore[arg-type]
            rows = table_rows([made], classes)
            cases.append(
                {
                    "image": {"name": name, **_pixels(image)},
                    "model": {
                        "name": "made",
                        "classes": classes,
                        "no_lesion": negative,
                        "trained": True,
                        "rules": asdict(rules),
                        "points": prediction["points"],
                    },
                    "probability": None if probability is None else _coded(probability),
                    "classes": list(made.probabilities.values()) or None,
                    "options": {"spacing": spacing, "point": chosen.name if chosen else None},
                    "prediction": prediction,
                    "levels": _coded(np.frombuffer(levels(made), np.uint8)),
                    "json": made.to_dict(),
                    "csv": csv_bytes(rows, classes).decode() if spacing is None else None,
                }
            )
    return cases


class _Ruled:
    """Attributes of a model that responses and priorities need."""

    def __init__(self, rules: Rules, classes: tuple[str, ...], no_lesion: str | None, training: Any) -> None:
        self.rules, self.classes, self.no_lesion, self.training = rules, classes, no_lesion, training


def statistics() -> list[dict[str, Any]]:
    """Return images of many sizes with their statistics."""
    sizes = [(16, 16), (470, 560), (160, 160), (90, 640), (703, 1017), (333, 970), (300, 1450)]
    images = [np.clip(_smooth(size, 3) * 200 + RANDOM.normal(0, 12, size), 0, 255).astype(np.uint8) for size in sizes]
    return [{**_pixels(image), "statistics": image_statistics(image).tolist()} for image in images]


def inputs() -> list[dict[str, Any]]:
    """Return scans padded for a model that keeps their size."""
    cases = []
    for channels in (1, 3):
        image = RANDOM.integers(0, 255, (37, 50, 3), dtype=np.uint8)
        path = Preprocessing(resize="none", channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels, stride=32)
        framed = path.framed(image)
        over = RANDOM.random(framed.shape[:2], dtype=np.float32)
        restored = path.placement(image.shape[:2]).restore(over)
        cases.append(
            {
                "image": _pixels(image),
                "preprocessing": {"channels": channels, "resize": "none", "stride": 32},
                "bytes": _coded(framed),
                "over": _coded(over),
                "restored": _coded(restored),
            }
        )
    return cases


def write_golden(path: Path) -> None:
    """Write all cases."""
    cases = {
        "lesions": lesions(),
        "appearances": appearances(),
        "predictions": predictions(),
        "statistics": statistics(),
        "inputs": inputs(),
        "refinements": refinements(),
    }
    path.write_text(json.dumps(cases, allow_nan=False), encoding="utf-8")
