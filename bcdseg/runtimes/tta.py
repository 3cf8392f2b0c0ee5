"""Test-time augmentation.

Views are mirrored left to right only, because acoustic shadows point downwards in ultrasound. They are only downscaled, because
enlarging would crop the edges. The size of the network input stays the same, so that every runtime supports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from bcdseg.data.preprocessing import Placement, Preprocessing, resize_plane
from bcdseg.runtimes.base import Array, Calibration, RawOutput, Runtime, log_mean


class View(NamedTuple):
    """Geometric transform of the network input in test-time augmentation.

    Attributes:
        mirrored: Whether the input is mirrored left to right.
        scale: Factor of height and width; a smaller scan is padded with black.
    """

    mirrored: bool = False
    scale: float = 1.0

    def apply(self, scan: Array, black: Array) -> Array:
        """Apply the transform to an input, channels x height x width."""
        scan = scan[..., ::-1] if self.mirrored else scan
        if self.scale == 1:
            return np.ascontiguousarray(scan)
        at = self._placement(scan.shape[1:])
        canvas: Array = np.broadcast_to(black[:, None, None], scan.shape).copy()
        for channel, plane in zip(canvas, scan, strict=True):
            channel[at.window] = resize_plane(np.ascontiguousarray(plane), at.resized)
        return canvas

    def invert(self, mask: Array) -> Array:
        """Apply the inverse transform to a map."""
        restored = mask if self.scale == 1 else self._placement(mask.shape).restore(mask)
        whole: Array = restored[:, ::-1] if self.mirrored else restored
        return whole

    def _placement(self, size: tuple[int, ...]) -> Placement:
        height, width = max(1, round(size[0] * self.scale)), max(1, round(size[1] * self.scale))
        frame = size[0], size[1]
        return Placement(frame, (height, width), (frame[0] - height) // 2, (frame[1] - width) // 2, frame)


SCALES = (1.0, 0.9, 0.8)
VIEWS: dict[str, tuple[View, ...]] = {
    "none": (View(),),
    "flip": (View(), View(mirrored=True)),
    "full": tuple(View(mirrored, scale) for scale in SCALES for mirrored in (False, True)),
}


class TtaRuntime:
    """Runtime that averages the outputs of another runtime over several views; as thread-safe as that runtime."""

    def __init__(self, runtime: Runtime, views: Sequence[View], preprocessing: Preprocessing, calibration: Calibration) -> None:
        self.runtime, self.views, self.calibration = runtime, tuple(views), calibration
        self.black: Array = (-np.array(preprocessing.mean) / np.array(preprocessing.std)).astype(np.float32)

    @property
    def workers(self) -> int:
        """Number of threads that keep the other runtime busy."""
        return self.runtime.workers

    @property
    def has_lost_threads(self) -> bool:
        """Whether a fork hasn't copied threads of the other runtime."""
        return self.runtime.has_lost_threads

    def pool(self) -> AbstractContextManager[Executor]:
        """Return the thread pool of the other runtime."""
        return self.runtime.pool()

    def heatmap(self, scan: Array, class_index: int) -> Array:
        """Compute the heat map of the original scan."""
        return self.runtime.heatmap(scan, class_index)

    def __call__(self, batch: Sequence[Array]) -> RawOutput:
        """Return the mean probabilities over all views of preprocessed scans of one size, and the class logits of each view."""
        outputs = [self.runtime([view.apply(scan, self.black) for scan in batch]) for view in self.views]
        masks = [
            np.stack([view.invert(mask) for mask in output.mask])
            for view, output in zip(self.views, outputs, strict=True)
            if output.mask is not None
        ]
        mask: Array | None = np.stack(masks).mean(axis=0) if masks else None
        logits = [output.classes for output in outputs if output.classes is not None]
        if not logits:
            return RawOutput(mask, None)
        members = [output.classes[:, None] if output.members is None else output.members for output in outputs]  # type: ignore[index]
        return RawOutput(mask, log_mean(np.stack(logits), self.calibration), np.concatenate(members, axis=1))
