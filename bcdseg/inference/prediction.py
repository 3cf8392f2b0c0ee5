"""The prediction for one scan."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcdseg.errors import OptionError
from bcdseg.messages import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from bcdseg.data.annotations.polygons import Polygon
    from bcdseg.inference.lesions import Lesion
    from bcdseg.types import Area, Box, Flag, Mask, Pixels, Spacing

TINY = np.float32(1e-6)  # keeps the logarithm of a probability of 0 finite
SHOWN = (640, 640)  # largest size of the image in a notebook, in pixels


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Prediction:
    """Prediction of a model for one scan. Masks have the height and width of the scan.

    Attributes:
        source: Path of the scan, or a description of its type when it has no path.
        label: Predicted class: the most probable one, or the choice of the operating point; None for a model without classes.
        probabilities: Calibrated probability of each class by name.
        mask: True where a lesion is outlined, without small components; None for a model without a mask.
        mask_probability: Probability of 'lesion' for each pixel, 0 to 1; None for a model without a mask.
        lesions: Outlined lesions, the largest first, by area: in square millimetres where every lesion has a scale, else in pixels.
        candidates: Outlines in a scan, or in one of its regions, whose probability of a lesion is below the model's presence
            threshold: not findings, but worth a review; the largest first.
        candidate_mask: True where a candidate is outlined; None when there are no candidates.
        label_set: Classes that can't be excluded at the coverage of the model's conformal rules, see ``bcdseg.fit_site``; None for
            a model without such rules.
        ood_score: Out-of-distribution score: distance of the image from the training images, as a multiple of the distance from
            which the prediction gets a warning. It depends on the image alone; None for a model without statistics of its training
            images.
        flags: Warnings about the quality of the scan or of the prediction.
        spacing: Millimetres per pixel, down and across, or None.
        threshold: Mask probability from which a pixel is outlined.
        operating_point: Name of the operating point that chose the class; None when the label is the most probable class.
        heatmap: Grad-CAM of the class ``explained``, 0 to 1; None unless requested. It is a coarse hint and not evidence.
        explained: Class of the heat map.
        image: The decoded scan; in a DICOM frame, pixels outside its scan regions are black unless
            ``identity`` is ``"pacs"``.
        spacing_from: Source of the spacing: ``"given"``, ``"ultrasound region"``, ``"pixel spacing"``,
            ``"imager pixel spacing"`` (at an X-ray detector, where everything is magnified), or None.
        area: Region of the scan from which class and spacing are: top, left, bottom and right.
        areas: All regions of the scan that were processed, each with its own ``box`` and ``spacing``, the largest first.
        frame: Number of the frame in a clip, counted from 1; None for a single image.
        model: Name of the model.
        windows: Number of windows that the network has processed (``mode="tiles"``); None when the scan was processed as a whole.
        spread: Standard deviation of each class's probability over several raw outputs; None when there is only one.
        uncertainty_from: Origin of the several raw outputs, such as ``"3 members x 2 views"``: members of an ensemble, views of
            test-time augmentation. None when there is only one; ``spread`` and ``entropy`` are then None too.
        identity: Use for which the scan was predicted: ``"pacs"`` keeps patient, study and UIDs of the source in DICOM output,
            and burned-in annotations in ``image``; ``"shared"`` removes them.
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
    label_set: tuple[str, ...] | None = None
    ood_score: float | None = None
    identity: str = "shared"
    areas: tuple[Area, ...] = ()

    @property
    def entropy(self) -> NDArray[np.float32] | None:
        """Entropy of each pixel in bits: 0 is certain, 1 is fully uncertain. None unless there are several raw outputs.

        It is the entropy of their mean mask probability: high where each of them is uncertain, and where they disagree.
        """
        if self.mask_probability is None or self.uncertainty_from is None:
            return None
        inside = np.clip(self.mask_probability, TINY, 1 - TINY)
        return -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))

    @property
    def confidence(self) -> float | None:
        """Probability of the predicted class; None for a model without classes."""
        return None if self.label is None else self.probabilities[self.label]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the scan."""
        return self.image.shape[0], self.image.shape[1]

    @cached_property
    def polygons(self) -> tuple[Polygon, ...]:
        """Outlines of the lesions as polygons with holes, in the order of ``lesions``.

        Points are rows and columns in pixels, like those of lesions: (0, 0) is the centre of the first pixel. The contours are
        halfway between pixels inside and outside, so that a pixel is inside if its centre is.
        """
        from bcdseg.inference.annotations import polygons_of

        return polygons_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes except the arrays, as JSON types."""
        return {
            "source": self.source,
            "height": self.size[0],
            "width": self.size[1],
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "label_set": None if self.label_set is None else list(self.label_set),
            "ood_score": None if self.ood_score is None else round(self.ood_score, 4),
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
        """Draw the scan with its lesions outlined, as a PIL image of the scan's size."""
        from bcdseg.inference.render import draw_overlay

        return draw_overlay(self)

    def heat_overlay(self) -> Image:
        """Draw the heat map over the scan, as a PIL image of the scan's size.

        Raises:
            OptionError: The prediction has no heat map.
        """
        from bcdseg.inference.render import draw_heat

        if self.heatmap is None:
            raise OptionError("This prediction has no heat map: predict with explain=True.")
        return draw_heat(self)

    def plot(self) -> Figure:
        """Plot outline, mask probability, heat map if there is one, and class probabilities with matplotlib (extra ``plot``)."""
        from bcdseg.inference.render import draw_figure

        return draw_figure(self)

    def save(self, folder: str | Path, *, name: str | None = None, overlay: bool = True, overwrite: bool = False) -> list[Path]:
        """Write ``NAME.json``, ``NAME_mask.png``, ``NAME_overlay.png`` and any heat map as ``NAME_heatmap.png`` to a folder.

        Args:
            folder: Output folder; it is created when missing.
            name: Stem of the file names; by default the stem of the source.
            overlay: Whether to write the overlay and the heat map.
            overwrite: Whether existing files may be replaced; otherwise they are an error.

        Returns:
            Paths of the written files.
        """
        from bcdseg.inference.writers import save_prediction

        return save_prediction(self, Path(folder), name=name, overlay=overlay, overwrite=overwrite)

    def save_annotations(
        self, folder: str | Path, *, format: str = "coco", tolerance: float = 0.5, overwrite: bool = False
    ) -> list[Path]:
        """Write the outlines as annotations, to correct them by hand: in COCO's, LabelMe's or GeoJSON format.

        Args:
            folder: Folder to write.
            format: ``"coco"``, ``"labelme"`` or ``"geojson"``.
            tolerance: Largest deviation of simplified polygons, in pixels; with 0 they have exactly the mask's pixels.
            overwrite: Whether existing files may be replaced.

        Returns:
            Paths of the written files.
        """
        from bcdseg.inference.annotations import save_annotations

        return save_annotations(self, folder, format=format, tolerance=tolerance, overwrite=overwrite)

    def save_dicom_seg(
        self,
        path: str | Path,
        *,
        source: Any = None,
        kind: str = "binary",
        identity: str | None = None,
        keep_identifiers: bool | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the mask or the mask probability as a DICOM segmentation; see ``bcdseg.save_dicom_seg`` (extra ``dicom``)."""
        from bcdseg.inference.dicom_output import save_dicom_seg

        chosen: dict[str, Any] = {"identity": identity, "keep_identifiers": keep_identifiers}
        return save_dicom_seg(self, path, source=source, kind=kind, **chosen, overwrite=overwrite)

    def save_dicom_sr(
        self,
        path: str | Path,
        *,
        source: Any = None,
        identity: str | None = None,
        keep_identifiers: bool | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the measurements as a DICOM structured report; see ``bcdseg.save_dicom_sr`` (extra ``dicom``)."""
        from bcdseg.inference.dicom_output import save_dicom_sr

        chosen: dict[str, Any] = {"identity": identity, "keep_identifiers": keep_identifiers}
        return save_dicom_sr(self, path, source=source, **chosen, overwrite=overwrite)

    def __repr__(self) -> str:
        label = "no class" if self.confidence is None else f"{self.label} {percent(self.confidence)}"
        sizes = ", ".join(str(lesion) for lesion in self.lesions) or "nothing outlined"
        sizes += f", {len(self.candidates)} candidate{'s' * (len(self.candidates) > 1)}" * bool(self.candidates)
        outline = "no mask" if self.mask is None else sizes
        flags = "".join(f", {flag.code}!" for flag in self.flags)
        return f"<Prediction {Path(self.source).name}: {label}, {outline}{flags}>"

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        shown = self.overlay()
        shown.thumbnail(SHOWN)
        shown.save(buffer, "PNG")
        picture = base64.b64encode(buffer.getvalue()).decode()
        rows = [
            (name, f"<meter value='{value:.3f}' style='width:10em'></meter>", percent(value, 1))
            for name, value in self.probabilities.items()
        ]
        bars = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{bar}</td><td>{percentage}</td></tr>" for name, bar, percentage in rows
        )
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
