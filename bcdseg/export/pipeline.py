"""The whole pipeline as one torch module."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from bcdseg import __version__
from bcdseg.data.preprocessing import Preprocessing, rounded_quotient
from bcdseg.inference.rules import Rules
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.networks.network import AnyNetwork, Output, calibrated

Length: TypeAlias = int | Tensor
SCAN = "scan"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.float32}
HALF_WEIGHT = 2**11
LARGEST = 8192  # pixels per side; for larger scans the sums of weights would exceed 32 bits
RESIZING = "{}: bilinear with smoothing, rounded to 8 bits across and then down, as Pillow does"
RESIZES = {"stretch": "resize", "fit": "resize with the aspect ratio kept"}
INSIDE = (
    "padding with black",
    "intensities to 0..1",
    "normalisation",
    "network",
    "sigmoid",
    "temperature, class offsets of the rules and softmax",
    "threshold",
)
BRING_BACK = "mask to the scan's size"
PADDING = "padding with black to multiples of the stride"
SMALL = "dropping outlined spots below rules.min_lesion_share of the scan"
REFINEMENT = (
    "a second pass over the window around the main outline, rules.refinement times its longer side; where the outlines of both "
    "passes agree, the mean of their logits"
)
PRESENCE = "outlines are candidates where one minus the probability of no_lesion is below rules.presence_threshold"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Parts of a model that an export needs.

    Attributes:
        network: Network of the model; it is not changed.
        preprocessing: Preprocessing of scans before the network.
        rules: Decision rules: thresholds and calibration.
        name: Name of the model.
        card: Model card in Markdown.
    """

    network: AnyNetwork
    preprocessing: Preprocessing
    rules: Rules
    name: str
    card: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        config = self.network.config
        return (*(("mask_probability", "mask") if config.decoder else ()), *(("probabilities",) if config.head else ()))

    def facts(self, precision: str) -> dict[str, str]:
        """Return the metadata of the exported file, as text and JSON."""
        resize = self.preprocessing.resize
        inside = INSIDE[1:] if resize == "none" else (RESIZING.format(RESIZES[resize]), *INSIDE, BRING_BACK)
        outside = [PADDING] if resize == "none" else []
        if self.network.config.decoder:
            outside += [REFINEMENT] * (self.rules.refinement is not None) + [SMALL]
            outside += [PRESENCE] * (self.rules.presence_threshold is not None)
        values: dict[str, Any] = {
            "format": "bcdseg-pipeline",
            "format_version": 1,
            "library_version": __version__,
            "name": self.name,
            "precision": precision,
            "classes": list(self.network.config.classes),
            "no_lesion": self.network.config.no_lesion,
            "input": f"{SCAN}: uint8, {' x '.join(_layout(self.preprocessing))}",
            "outputs": list(self.outputs),
            "inside": list(inside),
            "outside": outside,
            "rules": asdict(self.rules),
            "preprocessing": asdict(self.preprocessing),
            "card": self.card,
        }
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


class Extent(NamedTuple):
    """Rows or columns of an image in a larger tensor: the number of the first one, and how many there are."""

    first: Length
    length: Length


class Pipeline(nn.Module):
    """Module from scans to ``outputs``: mask probability and mask at the scans' size, and class probabilities.

    Scans are uint8, batch x height x width, with x 3 at the end for a colour network. They may have any size where preprocessing
    resizes them; otherwise their height and width are multiples of the network's stride.

    For formats with inputs of one size, scans are at the top left of a canvas, and ``size`` contains their height and width.
    """

    def __init__(self, subject: Subject, precision: str) -> None:
        super().__init__()
        self.preprocessing, self.rules = subject.preprocessing, subject.rules
        folded = fold_batch_norm(subject.network, self.preprocessing.frame).requires_grad_(False).cpu()
        self.dtype = DTYPES[precision]
        self.network = folded.to(self.dtype).eval()

    def forward(self, scan: Tensor, size: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run scans of one size; see the class."""
        planes = scan.movedim(-1, 1) if self.preprocessing.channels == 3 else scan.unsqueeze(1)
        canvas = (planes.shape[2], planes.shape[3])
        size_of_scan = canvas if size is None else (size[0], size[1])
        output: Output = self.network(self._prepared(planes.float(), size_of_scan).to(self.dtype))
        found: list[Tensor] = []
        if output.mask is not None:
            probability = self._restored(torch.sigmoid(output.mask.float()), size_of_scan, canvas)[:, 0]
            found += [probability, probability >= self.rules.threshold]
        if output.classes is not None:
            found.append(calibrated(output.classes.float(), self.rules.temperature, self.rules.class_offsets).softmax(dim=1))
        return tuple(found)

    def _prepared(self, planes: Tensor, scan: tuple[Length, Length]) -> Tensor:
        path = self.preprocessing
        if path.resize != "none":  # Pillow rounds to integers after each direction
            (down, across), (height, width) = self._placement(scan), path.frame
            planes = _in_levels(planes, Extent(0, scan[1]), width, across)
            planes = _in_levels(planes.mT, Extent(0, scan[0]), height, down).mT
        mean, std = (torch.tensor(values)[:, None, None] for values in (path.mean, path.std))
        return (planes / 255 - mean) / std

    def _restored(self, over_input: Tensor, scan: tuple[Length, Length], canvas: tuple[int, int]) -> Tensor:
        if self.preprocessing.resize == "none":
            return over_input
        down, across = self._placement(scan)
        across_done = _smoothly(over_input, across, canvas[1], Extent(0, scan[1]))
        return _smoothly(across_done.mT, down, canvas[0], Extent(0, scan[0])).mT

    def _placement(self, scan: tuple[Length, Length]) -> tuple[Extent, Extent]:
        """Return the rows and the columns of the network input that the resized scan fills; the rest is padding."""
        path = self.preprocessing
        resized: tuple[Length, Length] = _fitted(scan, path.size) if path.resize == "fit" else path.size
        down, across = (Extent((whole - side) // 2, side) for whole, side in zip(path.frame, resized, strict=True))
        return down, across


def trace_pipeline(subject: Subject, precision: str) -> torch.export.ExportedProgram:
    """Trace the pipeline to a graph for any batch size, and for any scan size that the pipeline supports."""
    path, dim = subject.preprocessing, torch.export.Dim
    scan = torch.zeros(2, 3 * path.stride, 4 * path.stride, *([3] if path.channels == 3 else []), dtype=torch.uint8)
    if path.resize == "none":
        sides: dict[int, Any] = {1: path.stride * dim("down", max=1024), 2: path.stride * dim("across", max=1024)}
    else:
        sides = {1: dim("height", min=8, max=LARGEST), 2: dim("width", min=8, max=LARGEST)}
    return torch.export.export(Pipeline(subject, precision).eval(), (scan,), dynamic_shapes=({0: dim("batch", max=4096), **sides},))


def _layout(path: Preprocessing) -> tuple[str, ...]:
    only = f" (a multiple of {path.stride})" if path.resize == "none" else ""
    return ("batch", f"height{only}", f"width{only}", *(("3",) if path.channels == 3 else ()))


def _fitted(scan: tuple[Length, Length], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the height and width of a scan that is resized to fit a size with its aspect ratio kept, as ``Preprocessing`` does."""
    height, width = (side if isinstance(side, Tensor) else torch.full((), side, dtype=torch.int64) for side in scan)
    down, across = rounded_quotient(height * size[1], width), rounded_quotient(width * size[0], height)
    return torch.clamp(down, 1, size[0]), torch.clamp(across, 1, size[1])


# Resizing is implemented here, because the formats' own operators lack the antialiasing that downscaling needs, or round unlike
# Pillow; a dozen pixels that are one level brighter change the outputs of networks by more than 0.001.


def _shares(lines: int, before: Extent, places: int, after: Extent) -> tuple[Tensor, Tensor]:
    """Return the weight of each pixel of a line in each pixel of the resized line, ``places`` x ``lines``, and the sum of each row.

    The pixels ``before`` of ``lines`` become the pixels ``after`` of ``places``; all other weights are 0.
    """
    pixel = 2 * (torch.arange(lines) - before.first) + 1
    place = 2 * (torch.arange(places)[:, None] - after.first) + 1
    apart = (pixel * after.length - place * before.length).abs()
    shares = torch.clamp(torch.maximum(2 * before.length - apart, 2 * after.length - apart), min=0)
    shares = shares * ((pixel > 0) & (pixel < 2 * before.length)) * ((place > 0) & (place < 2 * after.length))
    return shares, torch.clamp(shares.sum(dim=1, keepdim=True), min=1)


def _smoothly(lines: Tensor, before: Extent, places: int, after: Extent) -> Tensor:
    """Resize the last dimension as Pillow does with floating-point pixels."""
    shares, whole = _shares(lines.shape[-1], before, places, after)
    return lines @ (shares.float() / whole.float()).T


def _in_levels(lines: Tensor, before: Extent, places: int, after: Extent) -> Tensor:
    """Resize the last dimension exactly as Pillow does with 8-bit pixels, whose weights are integer multiples of 2**-22.

    Each weight is split into two halves of 11 bits, whose sums are exact in 32-bit floating point.
    """
    shares, whole = _shares(lines.shape[-1], before, places, after)
    high = shares * HALF_WEIGHT // whole
    low = ((shares * HALF_WEIGHT - high * whole) * 2 * HALF_WEIGHT + whole) // (2 * whole)
    carried = torch.floor(lines @ low.float().T / HALF_WEIGHT)
    return torch.floor((lines @ high.float().T + carried + HALF_WEIGHT / 2) / HALF_WEIGHT)
