"""Augment a batch of packed scans as tensors: variations by machines, operators, presets and screenshots.

All scans of a batch are transformed together, each with random numbers of its own, on a CPU or a GPU alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bcdseg.inference.refinement import LARGEST, SMALLEST
from bcdseg.training.augment import paint_marks

NORMAL = 0
MARKED = 0.3  # fraction of scans that get calipers, words or a body marker
CROPPED = 0.5  # fraction of scans that are cut to a random part
LESION_FREE = 0.2  # fraction of lesion scans that are cut to a part without the lesion, and so become normal
WINDOW = (1.3, 2.0)  # side of a window as a multiple of the longer side of its lesion; a prediction has 1.6
OFF_CENTRE = 0.12  # of the side of a window: how far its lesion is from its centre at most
SMALLEST_PART = 0.3  # of the longer side: a lesion-free part is at least this high and wide
Random = np.random.Generator


class Batch(NamedTuple):
    """A batch of training scans.

    Attributes:
        images: Scans x 1 x size x size, from 0 to 1.
        placed: The same scans before their look was changed.
        masks: The same shape, 0 or 1.
        labels: Index of the class.
        presence: 1 where a lesion is in view, else 0.
        presence_weight: Weight of the presence loss.
        class_known: Whether the class of the lesion is in view.
    """

    images: Tensor
    placed: Tensor
    masks: Tensor
    labels: Tensor
    presence: Tensor
    presence_weight: Tensor
    class_known: Tensor


def marked(image: NDArray[np.uint8], box: NDArray[np.int64], rng: Random) -> NDArray[np.uint8]:
    """Return a scan with painted calipers, words or a body marker, some of the time."""
    if rng.random() >= MARKED:
        return image
    image = image.copy()
    top, left, bottom, right = box
    image[top:bottom, left:right] = paint_marks(image[top:bottom, left:right], rng)
    return image


def choose_part(
    mask: NDArray[np.bool_], box: NDArray[np.int64], rng: Random, windows: float = 0.0
) -> tuple[float, float, float, float]:
    """Return top, left, bottom and right of the part of a scan that is used.

    Args:
        mask: True mask.
        box: Top, left, bottom and right of the scan in its square.
        rng: Source of randomness.
        windows: Fraction of the scans that are cut to a window such as the second pass of a prediction processes.
    """
    top, left, bottom, right = (float(edge) for edge in box)
    lesion = _bounds(mask)
    if lesion is not None and rng.random() < LESION_FREE:
        found = _lesion_free(lesion, (top, left, bottom, right), rng)
        if found is not None:
            return found
    if windows and rng.random() < windows:
        return _window(lesion, (top, left, bottom, right), rng)
    if rng.random() >= CROPPED:
        return top, left, bottom, right
    height, width = bottom - top, right - left
    high, wide = height * rng.uniform(0.4, 1), width * rng.uniform(0.4, 1)
    if lesion is None:
        start = (top + rng.uniform(0, height - high), left + rng.uniform(0, width - wide))
        return start[0], start[1], start[0] + high, start[1] + wide
    first, last = _around(lesion[0], lesion[2], top, bottom, high, rng)
    before, after = _around(lesion[1], lesion[3], left, right, wide, rng)
    return first, before, last, after


def _window(
    lesion: tuple[float, float, float, float] | None, whole: tuple[float, float, float, float], rng: Random
) -> tuple[float, float, float, float]:
    """Return a square around a lesion, or anywhere in a scan without one, cut at the edges of the scan."""
    top, left, bottom, right = whole
    longest = max(bottom - top, right - left)
    if lesion is None:
        side = longest * rng.uniform(SMALLEST, LARGEST)
        row, column = rng.uniform(top, bottom), rng.uniform(left, right)
    else:
        side = rng.uniform(*WINDOW) * max(lesion[2] - lesion[0], lesion[3] - lesion[1])
        side = min(max(side, SMALLEST * longest), longest)
        row, column = ((lesion[i] + lesion[i + 2]) / 2 + rng.uniform(-OFF_CENTRE, OFF_CENTRE) * side for i in (0, 1))
    half = side / 2
    return max(top, row - half), max(left, column - half), min(bottom, row + half), min(right, column + half)


def _around(low: float, high: float, least: float, most: float, length: float, rng: Random) -> tuple[float, float]:
    """Return a random interval of about a length that contains another one, within limits."""
    margin = 0.05 * (most - least)
    low, high = max(least, low - margin), min(most, high + margin)
    length = max(length, high - low)
    start = rng.uniform(max(least, high - length), min(low, most - length) + 1e-6)
    return start, start + length


def _bounds(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return None if not len(rows) else (float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))


def _lesion_free(
    lesion: tuple[float, float, float, float], whole: tuple[float, float, float, float], rng: Random
) -> tuple[float, float, float, float] | None:
    """Return a random part next to, above or below a lesion; None where none is large enough."""
    gap = 3.0
    top, left, bottom, right = whole
    strips = [
        (top, left, lesion[0] - gap, right),
        (lesion[2] + gap, left, bottom, right),
        (top, left, bottom, lesion[1] - gap),
        (top, lesion[3] + gap, bottom, right),
    ]
    least = SMALLEST_PART * max(bottom - top, right - left)
    large = [strip for strip in strips if min(strip[2] - strip[0], strip[3] - strip[1]) >= least]
    if not large:
        return None
    areas = np.array([(strip[2] - strip[0]) * (strip[3] - strip[1]) for strip in large])
    strip = large[rng.choice(len(large), p=areas / areas.sum())]
    high = rng.uniform(least, strip[2] - strip[0])
    wide = min(strip[3] - strip[1], max(least, min(high * rng.uniform(0.6, 2.2), strip[3] - strip[1])))
    start = (rng.uniform(strip[0], strip[2] - high), rng.uniform(strip[1], strip[3] - wide))
    return start[0], start[1], start[0] + high, start[1] + wide


def place(images: Tensor, masks: Tensor, parts: Tensor, size: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Cut, mirror, turn, scale and bend a batch; without a generator only cut and fit.

    Args:
        images: Scans x 1 x side x side, from 0 to 1.
        masks: The same shape.
        parts: Top, left, bottom and right of the part of each scan, in pixels.
        size: Height and width of the result.
        generator: Source of randomness.
    """
    count, side = len(images), images.shape[-1]
    low, high = parts[:, [1, 0]] / side * 2 - 1, parts[:, [3, 2]] / side * 2 - 1  # x before y
    centre, half = (low + high) / 2, (high - low) / 2
    reach = half.amax(dim=1, keepdim=True).expand(-1, 2).clone()  # the longer side fills the frame
    line = (torch.arange(size, device=images.device) + 0.5) / size * 2 - 1
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).expand(count, -1, -1, -1)
    if generator is not None:
        grid, reach = _moved(grid, reach, half, generator)
    grid = grid * reach[:, None, None] + centre[:, None, None]
    inside = ((grid >= low[:, None, None]) & (grid <= high[:, None, None])).all(dim=-1)[:, None]
    shrunk = float(reach.amax()) * side / size
    if shrunk > 1.3:
        images = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = F.grid_sample(images, grid, align_corners=False) * inside
    masks = (F.grid_sample(masks, grid, align_corners=False) * inside >= 0.5).float()
    return images, masks


def _moved(grid: Tensor, reach: Tensor, half: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    count, device = len(grid), grid.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, device=device) * (high - low) + low

    stretched = uniform(0, 1, 1) < 0.25
    reach = torch.where(stretched, half, reach) * torch.exp(uniform(-0.25, 0.25, 1)) * torch.exp(uniform(-0.15, 0.15, 2))
    angle = uniform(-0.25, 0.25) * (uniform(0, 1) < 0.6)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], dim=1)
    grid = grid @ turn.transpose(1, 2)[:, None]
    grid = grid + uniform(-0.12, 0.12, 1, 1, 2)
    bend = torch.randn(count, 2, 5, 5, generator=generator, device=device) * 0.035 * (uniform(0, 1, 1, 1, 1) < 0.4)
    grid = grid + F.interpolate(bend, size=grid.shape[1:3], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    return grid * torch.stack([mirror, torch.ones_like(mirror)], -1)[:, None, None], reach


def restyle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change how scans look as other machines and presets would: tone curve, gain, spectrum, speckle, resolution, sharpness."""
    count, device, size = len(images), images.device, images.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, device=device) * (high - low) + low

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator, device=device)

    def sometimes(fraction: float) -> Tensor:
        return uniform(0, 1, 1, 1, 1) < fraction

    black = images <= 0.004  # what is outside the scan stays black
    images = torch.where(sometimes(0.25), _other_spectrum(images, uniform(0.0, 0.7, 1, 1, 1), generator), images)
    images = torch.where(sometimes(0.5), _tone_curve(images, normal(8) * 0.6), images)
    images = torch.where(sometimes(0.5), images.clamp(1e-4, 1) ** torch.exp(uniform(-0.6, 0.6, 1, 1, 1)), images)
    gain = F.interpolate(normal(1, 4, 3) * 0.22, size=(size, size), mode="bilinear", align_corners=True)
    images = torch.where(sometimes(0.4), images * torch.exp(gain), images)
    contrast, brightness = torch.exp(uniform(-0.4, 0.4, 1, 1, 1)), uniform(-0.12, 0.12, 1, 1, 1)
    images = torch.where(sometimes(0.5), (images - 0.35) * contrast + 0.35 + brightness, images)
    grain = F.interpolate(normal(1, size * 2 // 3, size * 2 // 3), size=(size, size), mode="bilinear", align_corners=False)
    images = torch.where(sometimes(0.3), images * (1 + uniform(0.05, 0.35, 1, 1, 1) * grain), images)
    images = torch.where(sometimes(0.2), images + uniform(0.005, 0.04, 1, 1, 1) * normal(1, size, size), images)
    soft = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.where(sometimes(0.4), images + uniform(-0.9, 1.2, 1, 1, 1) * (images - soft), images)
    coarse = int(size * float(torch.rand((), generator=generator, device=device) * 0.45 + 0.35))
    small = F.interpolate(images, size=(coarse, coarse), mode="bilinear", antialias=True)
    images = torch.where(sometimes(0.25), F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False), images)
    return torch.where(black, 0.0, images).clamp(0, 1)


def _tone_curve(images: Tensor, steps: Tensor) -> Tensor:
    """Apply a random rising curve from black to white to each scan."""
    rises = torch.exp(steps)
    knots = torch.cat([torch.zeros_like(rises[:, :1]), rises.cumsum(dim=1) / rises.sum(dim=1, keepdim=True)], dim=1)
    table = F.interpolate(knots[:, None], size=256, mode="linear", align_corners=True)[:, 0]
    index = (images * 255).round().long().flatten(1)
    return table.gather(1, index).reshape(images.shape)


def _other_spectrum(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Mix in another scan's amplitudes of low frequency (Yang and Soatto, FDA, CVPR 2020); phases stay."""
    order = torch.randperm(len(images), generator=generator, device=images.device)
    spectrum = torch.fft.rfft2(images)
    amplitude = spectrum.abs()
    size = images.shape[-1]
    rows = torch.fft.fftfreq(size, device=images.device).abs()[:, None]
    columns = torch.fft.rfftfreq(size, device=images.device)[None]
    low = ((rows < 0.06) & (columns < 0.06)).float()
    mixed = amplitude + low * strength * (amplitude[order] - amplitude)
    return torch.fft.irfft2(torch.polar(mixed, spectrum.angle()), s=images.shape[-2:]).clamp(0, 1)
