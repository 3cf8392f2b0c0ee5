"""Diagram of a network."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from bcdseg.networks.config import EnsembleConfig
from bcdseg.networks.network import Ensemble

if TYPE_CHECKING:
    from bcdseg.data.preprocessing import Preprocessing
    from bcdseg.model.model import Model
    from bcdseg.networks.network import Network

BOX_WIDTH, BOX_HEIGHT, ROW, LEFT, RIGHT, TOP = 190, 44, 76, 40, 470, 100
STYLE = """
  .page { fill: #ffffff; } text { font: 13px system-ui, sans-serif; fill: #1b1f24; }
  .title { font-size: 17px; font-weight: 600; } .shape { font-size: 12px; fill: #57606a; }
  rect.encoder { fill: #d7e9f7; stroke: #0072b2; } rect.decoder { fill: #d5efe5; stroke: #009e73; }
  rect.head { fill: #fbe8cd; stroke: #d55e00; } rect.input { fill: #eaeef2; stroke: #57606a; }
  .flow { stroke: #1b1f24; stroke-width: 1.5; fill: none; marker-end: url(#arrow); }
  .skip { stroke: #57606a; stroke-width: 1.2; stroke-dasharray: 5 4; fill: none; marker-end: url(#arrow); }
"""


@dataclass(frozen=True)
class _Box:
    kind: str
    name: str
    shape: str
    x: float
    y: float

    def svg(self) -> str:
        middle = self.x + BOX_WIDTH / 2
        return (
            f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
            f'<text x="{middle}" y="{self.y + 18}" text-anchor="middle">{escape(self.name)}</text>'
            f'<text class="shape" x="{middle}" y="{self.y + 35}" text-anchor="middle">{escape(self.shape)}</text>'
        )


def draw_diagram(model: Model) -> str:
    """Draw the network of a model as SVG, with the tensor shapes for one scan of the model's size."""
    if isinstance(model.network, Ensemble):
        return _draw_ensemble(model, model.network.config)
    config = model.network.config
    image, levels, decoded, mask, classes = _trace(model.network, model.preprocessing)
    encoder = [_Box("input", "scan", _shape(image), LEFT, TOP)]
    encoder += [
        _Box("encoder", f"encoder 1/{_scale(image, level)}", _shape(level), LEFT, TOP + ROW * (i + 1))
        for i, level in enumerate(levels)
    ]
    arrows = [_down(one, other) for one, other in pairwise(encoder)]
    boxes = list(encoder)
    if mask is not None and decoded is not None:
        right, more = _decoder_side(encoder, decoded, mask, config.decoder or "")
        boxes += right
        arrows += more
    if classes is not None:
        head = _Box("head", f"class head ({config.head})", f"{classes.shape[1]}: {_few(model.classes)}", LEFT, encoder[-1].y + ROW)
        boxes.append(head)
        arrows.append(_down(encoder[-1], head))
        if config.head in ("guided", "hierarchical") and mask is not None:
            arrows.append(_guidance(boxes, head))
    height = max(box.y for box in boxes) + BOX_HEIGHT + 40
    width = (RIGHT if mask is not None else LEFT) + BOX_WIDTH + (90 if mask is not None else 240)
    return _page(
        f"{model.name}: {config.encoder}, {config.decoder or 'no decoder'}", width, height, arrows + [box.svg() for box in boxes]
    )


def _draw_ensemble(model: Model, config: EnsembleConfig) -> str:
    """Draw the members in a column, between the scan and the mean of their outputs."""
    members = [
        _Box("encoder", facts.encoder, f"{facts.decoder or 'no'} decoder, {facts.head or 'no'} head", LEFT + 240, TOP + ROW * index)
        for index, facts in enumerate(member.network for member in config.members)
    ]
    middle = (members[0].y + members[-1].y) / 2
    scan = _Box("input", "scan", " x ".join(map(str, (config.in_channels, *model.preprocessing.frame))), LEFT, middle)
    outputs = " and ".join(name for name, part in (("mask", config.decoder), ("classes", config.head)) if part)
    mean = _Box("head", "mean of probabilities", outputs, LEFT + 480, middle)
    arrows = [_across(one, other) for member in members for one, other in ((scan, member), (member, mean))]
    width, height = mean.x + BOX_WIDTH + LEFT, members[-1].y + BOX_HEIGHT + 40
    return _page(f"{model.name}: {len(members)} members", width, height, arrows + [box.svg() for box in (scan, *members, mean)])


def _across(one: _Box, other: _Box) -> str:
    start, end = one.y + BOX_HEIGHT / 2, other.y + BOX_HEIGHT / 2
    return f'<path class="flow" d="M{one.x + BOX_WIDTH},{start} L{other.x - 3},{end}"/>'


def _trace(
    network: Network, path: Preprocessing
) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
    device = next(network.parameters()).device
    image = torch.zeros(1, path.channels, *path.frame, device=device)
    training = network.training
    try:
        with torch.no_grad():
            network.eval()
            levels = [level for level in network.encoder(image)[1:] if level.shape[1] > 0]
            decoded = None if network.decoder is None else network.decoder(network.encoder(image))
            output = network(image)
    finally:
        network.train(training)
    return image, levels, decoded, output.mask, output.classes


def _decoder_side(encoder: list[_Box], decoded: torch.Tensor, mask: torch.Tensor, name: str) -> tuple[list[_Box], list[str]]:
    """Draw the decoder as a tall column next to its skip connections, with the mask head above it."""
    deepest, first = encoder[-1], encoder[1]
    decoder = _Box("decoder", f"decoder ({name})", _shape(decoded), RIGHT, first.y)
    head = _Box("head", "mask head", _shape(mask), RIGHT, encoder[0].y)
    tall = deepest.y + BOX_HEIGHT - first.y
    column = f'<rect class="decoder" x="{RIGHT}" y="{first.y}" width="{BOX_WIDTH}" height="{tall}" rx="6"/>'
    arrows = [column]
    for box in encoder[1:]:
        style = "flow" if box is deepest else "skip"
        arrows.append(f'<path class="{style}" d="M{box.x + BOX_WIDTH},{box.y + BOX_HEIGHT / 2} H{RIGHT - 3}"/>')
    middle = RIGHT + BOX_WIDTH / 2
    arrows.append(f'<path class="flow" d="M{middle},{first.y} V{head.y + BOX_HEIGHT + 3}"/>')
    label = f'<text x="{middle}" y="{decoder.y + tall / 2}" text-anchor="middle">{escape(decoder.name)}</text>'
    label += f'<text class="shape" x="{middle}" y="{decoder.y + tall / 2 + 18}" text-anchor="middle">{escape(decoder.shape)}</text>'
    return [head], [*arrows, label]


def _guidance(boxes: list[_Box], head: _Box) -> str:
    mask_head = next(box for box in boxes if box.name == "mask head")
    far, middle = RIGHT + BOX_WIDTH + 40, head.y + BOX_HEIGHT / 2
    start = mask_head.y + BOX_HEIGHT / 2
    path = f'<path class="skip" d="M{RIGHT + BOX_WIDTH},{start} H{far} V{middle} H{LEFT + BOX_WIDTH + 3}"/>'
    return path + f'<text class="shape" x="{RIGHT}" y="{middle - 8}">pooled under the mask</text>'


def _down(one: _Box, other: _Box) -> str:
    middle = one.x + BOX_WIDTH / 2
    return f'<path class="flow" d="M{middle},{one.y + BOX_HEIGHT} V{other.y - 3}"/>'


def _shape(tensor: torch.Tensor) -> str:
    _, channels, height, width = tensor.shape
    return f"{channels} x {height} x {width}"


def _scale(image: torch.Tensor, level: torch.Tensor) -> int:
    return round(image.shape[-1] / level.shape[-1])


def _few(names: tuple[str, ...]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 28 else f"{text[:26]}…"


def _page(title: str, width: float, height: float, parts: list[str]) -> str:
    tip = '<path d="M0,0 8,4 0,8z"/>'
    arrow = f'<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">{tip}</marker>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
    text = (
        f'<title>{escape(title)}</title><defs>{arrow}</defs><style>{STYLE}</style><rect class="page" width="100%" height="100%"/>'
    )
    return "\n".join([head, text, f'<text class="title" x="{LEFT}" y="50">{escape(title)}</text>', *parts, "</svg>", ""])
