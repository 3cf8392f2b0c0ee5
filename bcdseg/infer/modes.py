"""When a scan goes through the network as a whole, and when as windows."""

from __future__ import annotations

from dataclasses import dataclass

from bcdseg.data.preprocess import Preprocessing
from bcdseg.errors import OptionError
from bcdseg.infer.looks import Look, WholeLook
from bcdseg.infer.tiled import TiledLook
from bcdseg.infer.tiles import Tiles
from bcdseg.types import Pixels

WHOLE, TILES, AUTO = "whole", "tiles", "auto"
MODES = (WHOLE, TILES, AUTO)
NATIVE = Tiles()
AUTO_ABOVE = 2048  # pixels: frames of ultrasound machines are smaller


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How scans are shown to a network.

    Attributes:
        name: ``whole``, ``tiles``, or ``auto``: tiles for what has more than 2,048 pixels down or across.
        tiles: How what is large is cut.
    """

    name: str = WHOLE
    tiles: Tiles = NATIVE

    def __post_init__(self) -> None:
        if self.name not in MODES:
            raise OptionError(f"mode={self.name!r} is unknown: choose one of {', '.join(MODES)}.")

    def look(self, pixels: Pixels, preprocessing: Preprocessing, *, threshold: float, has_classes: bool) -> Look:
        """How an area of a scan is looked at."""
        if self.name == TILES or (self.name == AUTO and is_large(pixels)):
            return TiledLook(pixels, preprocessing, self.tiles, threshold=threshold, has_classes=has_classes)
        return WholeLook(preprocessing(pixels), pixels.shape[0] * pixels.shape[1])


def is_large(pixels: Pixels) -> bool:
    """Whether a scan is above the size up to which ``auto`` takes it as a whole."""
    return any(side > AUTO_ABOVE for side in pixels.shape[:2])
