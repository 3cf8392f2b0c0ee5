"""Summary of a clip over its frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.errors import OptionError
from bcdseg.inference.lesions import largest_first
from bcdseg.messages import counted, percent
from bcdseg.types import Failure

if TYPE_CHECKING:
    from bcdseg.inference.lesions import Lesion
    from bcdseg.inference.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class ClipSummary:
    """Summary of the predictions for the frames of one clip.

    Attributes:
        source: Path or name of the clip.
        frames: Numbers of the frames that were predicted.
        unread: Number of frames that could not be read.
        label: Class with the highest mean probability; None for a model without classes.
        probabilities: Mean probability of each class over the frames.
        outlined_share: Fraction of the frames in which a lesion is outlined.
        largest_frame: Number of the frame with the largest lesion, by its area as in ``Prediction.lesions``; None when
            no frame has a lesion.
        long_axis_mm: Long axis of the largest lesion in millimetres; None when the pixel spacing is unknown.
        short_axis_mm: Short axis of the largest lesion in millimetres, or None.
        median_long_axis_mm: Median over the frames of the long axis of the largest lesion, in millimetres, or None.
        long_axis_px: Long axis of the largest lesion in pixels.
        short_axis_px: Short axis of the largest lesion in pixels.
    """

    source: str
    frames: tuple[int, ...]
    unread: int
    label: str | None
    probabilities: dict[str, float]
    outlined_share: float
    largest_frame: int | None = None
    long_axis_mm: float | None = None
    short_axis_mm: float | None = None
    median_long_axis_mm: float | None = None
    long_axis_px: float | None = None
    short_axis_px: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as JSON types."""
        return asdict(self) | {"frames": list(self.frames)}

    def __str__(self) -> str:
        parts = [counted(len(self.frames), "frame")]
        if self.unread:
            parts.append(f"{self.unread} more not read")
        if self.label is not None:
            parts.append(f"{self.label} {percent(self.probabilities[self.label])} on average")
        if self.frames:
            parts.append(f"outlined in {percent(self.outlined_share)}")
        if self.long_axis_mm is not None:
            parts.append(f"largest {self.long_axis_mm:.1f} x {self.short_axis_mm:.1f} mm in frame {self.largest_frame}")
        elif self.long_axis_px is not None:
            parts.append(f"largest {self.long_axis_px:.0f} x {self.short_axis_px:.0f} px in frame {self.largest_frame}")
        return ", ".join(parts)


def clip_file(result: Prediction | Failure) -> str:
    """Return the file of a prediction: its source without the frame number."""
    file, mark, number = result.source.rpartition("#")
    return file if mark and number.isdecimal() and (isinstance(result, Failure) or result.frame is not None) else result.source


def without_maps(prediction: Prediction) -> Prediction:
    """Return the prediction with its masks as the only arrays, so that the predictions of a whole clip fit in memory."""
    maps = [field.name for field in fields(prediction) if isinstance(getattr(prediction, field.name), np.ndarray)]
    dropped: dict[str, Any] = {name: None for name in maps if name not in ("mask", "candidate_mask", "image")}
    nothing = np.broadcast_to(np.uint8(0), prediction.size)
    return replace(prediction, image=nothing, **dropped)


def summarize_clip(results: Iterable[Prediction | Failure]) -> ClipSummary:
    """Summarize a clip from the predictions for its frames, which are read one by one and not kept."""
    frames: list[int] = []
    sums: dict[str, float] = {}
    largest: list[tuple[int, Lesion]] = []
    unread = 0
    source = None
    for result in results:
        source = source or clip_file(result)
        if clip_file(result) != source:
            raise OptionError(f"{result.source}: is a frame of another clip than {source}. Summarize one clip at a time.")
        if isinstance(result, Failure):
            unread += 1
            continue
        frames.append(result.frame or 1)
        sums = {name: sums.get(name, 0.0) + value for name, value in result.probabilities.items()}
        if result.lesions:
            largest.append((frames[-1], result.lesions[0]))
    if source is None:
        raise OptionError("A clip without frames can't be summarized: give the predictions of its frames.")
    probabilities = {name: total / len(frames) for name, total in sums.items()}
    summary = ClipSummary(
        source=source,
        frames=tuple(frames),
        unread=unread,
        label=max(probabilities, key=probabilities.__getitem__) if probabilities else None,
        probabilities=probabilities,
        outlined_share=len(largest) / len(frames) if frames else 0.0,
    )
    if not largest:
        return summary
    lesion = largest_first(one for _, one in largest)[0]
    axes = [one.long_axis_mm for _, one in largest if one.long_axis_mm is not None]
    return replace(
        summary,
        largest_frame=next(frame for frame, one in largest if one is lesion),
        long_axis_mm=lesion.long_axis_mm,
        short_axis_mm=lesion.short_axis_mm,
        median_long_axis_mm=median(axes) if axes else None,
        long_axis_px=lesion.long_axis_px,
        short_axis_px=lesion.short_axis_px,
    )
