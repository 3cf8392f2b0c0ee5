"""The prediction for one scan."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from bcdseg.inference.lesions import Lesion
    from bcdseg.inference.quality import Flag
    from bcdseg.types import Box, Mask, Pixels, Spacing

TINY = np.float32(1e-6)  # so that a probability of 0 has a logarithm
SHOWN = (640, 640)  # pixels at most of the picture in a notebook


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Prediction:
    """What a model says of one scan. Masks have the scan's own height and width.

    Attributes:
        source: The scan's path, or what it was when it had none.
        label: The most probable class, or the one that the operating point calls; None for a model without classes.
        probabilities: Calibrated probability of each class, by name.
        mask: True where a lesion is outlined, specks dropped; None for a model without a mask.
        mask_probability: Probability of 'lesion' for each pixel, 0 to 1; None for a model without a mask.
        lesions: The outlined lesions, the largest first.
        candidates: Outlined regions of a scan whose probability of a lesion is below the model's presence threshold: no findings,
            but worth a look; the largest first.
        candidate_mask: True where a candidate is outlined; None where there is none.
        flags: What to doubt about this answer.
        spacing: Millimetres per pixel, down and across, or None.
        threshold: The mask probability from which a pixel was outlined.
        operating_point: Name of the operating point that chose the class; None when the most probable one was taken.
        heatmap: Grad-CAM, 0 to 1: where the score of the class ``explained`` came from; None unless asked for. A coarse hint,
            no evidence.
        explained: The class that the heat map is of.
        image: The scan as it was read; of a DICOM frame what lies outside of its scan areas is black unless identifiers are kept.
        spacing_from: Where the spacing comes from: ``"given"``, ``"ultrasound region"``, ``"pixel spacing"``,
            ``"imager pixel spacing"`` (at an X-ray detector, where all is larger than in the patient), or None.
        area: The part of the scan that the class and the spacing are of: top, left, bottom and right.
        frame: The frame's number in a DICOM clip, counted from 1; None for a single image.
        model: Name of the model that answered.
        windows: How many windows of the scan went through the network (``mode="tiles"``); None when it was seen as a whole.
        spread: Of each class, the standard deviation of its probability over several answers; None when there was only one.
        uncertainty_from: What the several answers were, such as ``"3 members x 2 views"``: members of an ensemble, views of
            test-time augmentation. None when there was only one; then ``spread`` and ``entropy`` are None too.
    """

    source: str
    label: str | None
    probabilities: Mapping[str, float]
    mask: Mask | None
    mask_probability: NDArray[np.float32] | None
    lesions: tuple[Lesion, ...]
    flags: tuple[Flag, ...]
    spacing: Spacing | None
    threshold: float
    image: Pixels = field(compare=False)
    operating_point: str | None = None
    heatmap: NDArray[np.float32] | None = None
    explained: str | None = None
    spacing_from: str | None = None
    area: Box | None = None
    frame: int | None = None
    model: str = "untitled"
    windows: int | None = None
    spread: Mapping[str, float] | None = None
    uncertainty_from: str | None = None
    candidates: tuple[Lesion, ...] = ()
    candidate_mask: Mask | None = None

    @property
    def entropy(self) -> NDArray[np.float32] | None:
        """How unsure each pixel is, in bits: 0 sure, 1 not known at all. None unless several answers were asked for.

        It is the entropy of the mean of their mask probabilities: high where each is unsure, and where they disagree.
        """
        if self.mask_probability is None or self.uncertainty_from is None:
            return None
        inside = np.clip(self.mask_probability, TINY, 1 - TINY)
        return -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))

    @property
    def confidence(self) -> float | None:
        """Probability of the chosen class."""
        return None if self.label is None else self.probabilities[self.label]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the scan."""
        return self.image.shape[0], self.image.shape[1]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pixels, in types that JSON knows."""
        return {
            "source": self.source,
            "height": self.size[0],
            "width": self.size[1],
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "lesions": [_json(asdict(lesion)) for lesion in self.lesions],
            "candidates": [_json(asdict(candidate)) for candidate in self.candidates],
            "flags": [{"code": flag.code, "message": flag.message} for flag in self.flags],
            "spacing_mm": None if self.spacing is None else list(self.spacing),
            "spacing_from": self.spacing_from,
            "frame": self.frame,
            "threshold": self.threshold,
            "operating_point": self.operating_point,
            "windows": self.windows,
            "spread": None if self.spread is None else dict(self.spread),
            "uncertainty_from": self.uncertainty_from,
        }

    def overlay(self) -> Image:
        """The scan with its lesions outlined, as a PIL image of the scan's size."""
        from bcdseg.inference.render import draw_overlay

        return draw_overlay(self)

    def heat_overlay(self) -> Image:
        """The scan with its heat map over it, as a PIL image of the scan's size."""
        from bcdseg.inference.render import draw_heat

        if self.heatmap is None:
            raise OptionError("This prediction has no heat map: ask for one with predict(..., explain=True).")
        return draw_heat(self)

    def plot(self) -> Figure:
        """Scan, outline, heat map where asked for, and probabilities side by side, as a matplotlib figure (extra ``plot``)."""
        from bcdseg.inference.render import draw_figure

        return draw_figure(self)

    def save(self, folder: str | Path, *, name: str | None = None, overlay: bool = True, overwrite: bool = False) -> list[Path]:
        """Write ``NAME.json``, ``NAME_mask.png``, ``NAME_overlay.png``, and ``NAME_heatmap.png`` where there is one, into a folder.

        Args:
            folder: Made when missing.
            name: By default the stem of the source.
            overlay: Whether to write the overlay, and the heat map.
            overwrite: Whether files that exist may be replaced; otherwise they are an error.

        Returns:
            The files written.
        """
        from bcdseg.inference.writers import save_prediction

        return save_prediction(self, Path(folder), name=name, overlay=overlay, overwrite=overwrite)

    def save_dicom_seg(
        self, path: str | Path, *, source: Any = None, kind: str = "binary", keep_identifiers: bool = False, overwrite: bool = False
    ) -> Path:
        """Write the outline, or the probability, as DICOM-SEG; see ``bcdseg.save_dicom_seg`` (extra ``dicom``)."""
        from bcdseg.inference.dicom_output import save_dicom_seg

        return save_dicom_seg(self, path, source=source, kind=kind, keep_identifiers=keep_identifiers, overwrite=overwrite)

    def save_dicom_sr(
        self, path: str | Path, *, source: Any = None, keep_identifiers: bool = False, overwrite: bool = False
    ) -> Path:
        """Write the measurements as a DICOM report; see ``bcdseg.save_dicom_sr`` (extra ``dicom``)."""
        from bcdseg.inference.dicom_output import save_dicom_sr

        return save_dicom_sr(self, path, source=source, keep_identifiers=keep_identifiers, overwrite=overwrite)

    def __repr__(self) -> str:
        answer = "no class" if self.label is None else f"{self.label} {self.confidence:.0%}"
        sizes = ", ".join(str(lesion) for lesion in self.lesions) or "nothing outlined"
        sizes += f", {len(self.candidates)} candidate{'s' * (len(self.candidates) > 1)}" * bool(self.candidates)
        outline = "no mask" if self.mask is None else sizes
        flags = "".join(f", {flag.code}!" for flag in self.flags)
        return f"<Prediction {Path(self.source).name}: {answer}, {outline}{flags}>"

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        shown = self.overlay()
        shown.thumbnail(SHOWN)
        shown.save(buffer, "PNG")
        picture = base64.b64encode(buffer.getvalue()).decode()
        rows = [
            (name, f"<meter value='{value:.3f}' style='width:10em'></meter>", f"{value:.1%}")
            for name, value in self.probabilities.items()
        ]
        bars = "".join(f"<tr><td>{html.escape(name)}</td><td>{bar}</td><td>{share}</td></tr>" for name, bar, share in rows)
        notes = [str(lesion) for lesion in self.lesions]
        notes += [f"candidate: {candidate}" for candidate in self.candidates] + [f"⚠ {flag.message}" for flag in self.flags]
        items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        image = f"<img alt='' style='max-height:20em' src='data:image/png;base64,{picture}'>"
        text = f"<b>{html.escape(Path(self.source).name)}</b><table>{bars}</table><ul>{items}</ul>"
        return f"<div style='display:flex;gap:1em;align-items:flex-start'>{image}<div>{text}</div></div>"


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value
