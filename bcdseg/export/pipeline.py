"""The whole pipeline as one torch module."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdseg import __version__
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.inference.rules import Rules
from bcdseg.networks.ensemble import AnyNetwork
from bcdseg.networks.folding import fold_batch_norm
from bcdseg.networks.network import Output

Length: TypeAlias = int | Tensor
SCAN = "scan"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.float32}
HALF_WEIGHT = 2**11
LARGEST = 8192  # pixels per side; for larger scans the sums of weights would exceed 32 bits
RESIZING = "resize: bilinear with smoothing, rounded to 8 bits across and then down, as Pillow does"
INSIDE = ("intensities to 0..1", "padding", "normalisation", "network", "sigmoid", "temperature and softmax", "threshold")
BRING_BACK = "mask to the scan's size"
OUTSIDE = {
    "stretch": (),
    "fit": ("resize to fit the frame, keeping the aspect ratio, and padding with black",),
    "none": ("padding with black to multiples of the stride",),
}


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
        inside = (RESIZING, *INSIDE, BRING_BACK) if resize == "stretch" else INSIDE
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
            "outside": [*OUTSIDE[resize], "dropping outlined spots below rules.min_lesion_share of the scan"],
            "rules": asdict(self.rules),
            "preprocessing": asdict(self.preprocessing),
            "card": self.card,
        }
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


class Pipeline(nn.Module):
    """Module from scans to ``outputs``: mask probability and mask at the scans' size, and class probabilities.

    Scans are uint8, batch x height x width, with x 3 at the end for a colour network. They may have any size where preprocessing
    stretches scans; otherwise they have the size of the network input, since padding depends on data outside of the graph.

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
            found.append(torch.softmax(output.classes.float() / self.rules.temperature, dim=1))
        return tuple(found)

    def _prepared(self, planes: Tensor, scan: tuple[Length, Length]) -> Tensor:
        path = self.preprocessing
        if path.resize == "stretch":  # Pillow rounds to integers after each direction
            planes = _in_levels(planes, path.size[1], scan[1])
            planes = _in_levels(planes.mT, path.size[0], scan[0]).mT
            down, across, _, _ = self._room()
            top, left = down // 2, across // 2
            planes = F.pad(planes, (left, across - left, top, down - top))
        mean, std = (torch.tensor(values)[:, None, None] for values in (path.mean, path.std))
        return (planes / 255 - mean) / std

    def _restored(self, over_input: Tensor, scan: tuple[Length, Length], canvas: tuple[int, int]) -> Tensor:
        if self.preprocessing.resize != "stretch":
            return over_input
        down, across, height, width = self._room()
        top, left = down // 2, across // 2
        inside = over_input[:, :, top : top + height, left : left + width]
        across_done = _smoothly(inside, canvas[1], scan[1])
        return _smoothly(across_done.mT, canvas[0], scan[0]).mT

    def _room(self) -> tuple[int, int, int, int]:
        """Return the rows and columns of padding, and the height and width without padding."""
        (height, width), frame = self.preprocessing.size, self.preprocessing.frame
        return frame[0] - height, frame[1] - width, height, width


def trace_pipeline(subject: Subject, precision: str) -> torch.export.ExportedProgram:
    """Trace the pipeline to a graph for any batch size, and for any scan size where the pipeline supports it."""
    path, dim = subject.preprocessing, torch.export.Dim
    height, width = path.frame if path.resize == "fit" else (3 * path.stride, 4 * path.stride)
    scan = torch.zeros(2, height, width, *([3] if path.channels == 3 else []), dtype=torch.uint8)
    sizes: dict[int, Any] = {0: dim("batch", max=4096)}
    if path.resize == "stretch":
        sizes |= {1: dim("height", min=8, max=LARGEST), 2: dim("width", min=8, max=LARGEST)}
    elif path.resize == "none":
        sizes |= {1: path.stride * dim("down", max=1024), 2: path.stride * dim("across", max=1024)}
    return torch.export.export(Pipeline(subject, precision).eval(), (scan,), dynamic_shapes=(sizes,))


def _layout(path: Preprocessing) -> tuple[str, ...]:
    height, width = {
        "stretch": ("height", "width"),
        "fit": (str(path.frame[0]), str(path.frame[1])),
        "none": (f"height (a multiple of {path.stride})", f"width (a multiple of {path.stride})"),
    }[path.resize]
    return ("batch", height, width, *(("3",) if path.channels == 3 else ()))


# Resizing is implemented here, because the formats' own operators lack the antialiasing that downscaling needs, or round unlike
# Pillow; a dozen pixels that are one level brighter change the outputs of networks by more than 0.001.


def _shares(lines: int, before: Length, places: int, after: Length) -> tuple[Tensor, Tensor]:
    """Return the weight of each pixel of a line in each pixel of the resized line, ``places`` x ``lines``, and the sum of each row.

    The first ``before`` pixels of ``lines`` become the first ``after`` of ``places``; the weights of pixels beyond are 0.
    """
    pixel, place = 2 * torch.arange(lines) + 1, 2 * torch.arange(places)[:, None] + 1
    apart = (pixel * after - place * before).abs()
    shares = torch.clamp(torch.maximum(2 * before - apart, 2 * after - apart), min=0)
    if isinstance(before, Tensor):
        shares = shares * (pixel < 2 * before)
    if isinstance(after, Tensor):
        shares = shares * (place < 2 * after)
    return shares, torch.clamp(shares.sum(dim=1, keepdim=True), min=1)


def _smoothly(lines: Tensor, places: int, after: Length) -> Tensor:
    """Resize the last dimension as Pillow does with floating-point pixels."""
    count = lines.shape[-1]
    shares, whole = _shares(count, count, places, after)
    return lines @ (shares.float() / whole.float()).T


def _in_levels(lines: Tensor, after: int, before: Length) -> Tensor:
    """Resize the last dimension exactly as Pillow does with 8-bit pixels, whose weights are integer multiples of 2**-22.

    Each weight is split into two halves of 11 bits, whose sums are exact in 32-bit floating point.
    """
    shares, whole = _shares(lines.shape[-1], before, after, after)
    high = shares * HALF_WEIGHT // whole
    low = ((shares * HALF_WEIGHT - high * whole) * 2 * HALF_WEIGHT + whole) // (2 * whole)
    carried = torch.floor(lines @ low.float().T / HALF_WEIGHT)
    return torch.floor((lines @ high.float().T + carried + HALF_WEIGHT / 2) / HALF_WEIGHT)
