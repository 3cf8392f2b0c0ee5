"""Results of a model for one image, as DICOM objects whose UIDs follow from the image and the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from bcdseg.batch.run_manifest import fingerprint, settings_of
from bcdseg.dicom.algorithm import Algorithm
from bcdseg.dicom.deidentify import ObjectUids, choose_identity, read_reference
from bcdseg.errors import OptionError
from bcdseg.inference.clips import without_maps
from bcdseg.inference.dicom_output import MOST_BYTES, encode_dicom_seg, encode_dicom_sr, segmentation_kind
from bcdseg.inference.prediction import Prediction

if TYPE_CHECKING:
    from bcdseg.model.model import Model

SEG, SR = "seg", "sr"
KINDS: tuple[str, ...] = (SEG, SR)


@dataclass(frozen=True, kw_only=True)
class ResultMaker:
    """A model with its options, and the kinds of objects that it makes.

    The UIDs of an object follow from the UID of its image, the weights, the options and the version of the library. So an object
    that is made again is the same object for a PACS, and nothing is stored twice.

    Attributes:
        model: The model.
        kinds: Kinds of objects: ``"seg"``, ``"sr"`` or both.
        options: Options of ``Model.predict``.
        identity: ``"pacs"`` or ``"shared"``; see ``Model.predict``.
        settings: Weights, options and versions on which the results depend.
    """

    model: Model
    kinds: tuple[str, ...]
    options: Mapping[str, Any]
    identity: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, model: Model, kinds: Iterable[str], options: Mapping[str, Any], *, identity: str) -> ResultMaker:
        """Return the maker of a model's results.

        Raises:
            OptionError: A kind or the identity is unknown, or the model doesn't make any of the kinds.
        """
        chosen = tuple(dict.fromkeys(kinds))
        if not chosen or not set(chosen) <= set(KINDS):
            raise OptionError(f"kinds={chosen!r}: choose 'seg' (outlines), 'sr' (measurements) or both.")
        if model.config.decoder is None:
            if SR not in chosen:
                raise OptionError(f"kinds={chosen!r}: {model.name} only classifies and has no outlines. Choose 'sr'.")
            chosen = (SR,)
        weights = fingerprint(model)
        settings = settings_of(model.name, weights, options)
        return cls(model=model, kinds=chosen, options=options, identity=choose_identity(identity, None), settings=settings)

    @cached_property
    def key(self) -> str:
        """Hash of everything but the image on which a result depends."""
        return blake2b(repr(sorted(self.settings.items())).encode(), digest_size=16).hexdigest()

    @property
    def algorithm(self) -> Algorithm:
        """The model as the objects identify it."""
        return Algorithm(self.model.name, str(self.settings["weights"]))

    def uids(self, image: str, kind: str) -> ObjectUids:
        """Return the UIDs of the object of a kind for the image, or the study, with this UID."""
        return ObjectUids(f"{kind} of {image} by {self.key}")

    def missing(self, image: str, stored: Iterable[str]) -> list[str]:
        """Return the kinds whose object for an image is not among the stored ones."""
        there = set(stored)
        return [kind for kind in self.kinds if self.uids(image, kind)("instance") not in there]

    def predict(self, source: Any) -> list[Prediction]:
        """Return the prediction for an image, or those for the frames of a clip, with masks as their only arrays.

        Raises:
            ImageError: The image, or a frame of the clip, can't be read.
        """
        found = self.model.predict(source, identity=self.identity, **self.options)
        if isinstance(found, Prediction):
            return [found]
        predictions: list[Prediction] = []
        size = 0
        for one in found:
            predictions.append(without_maps(one))
            size += sum(0 if mask is None else mask.nbytes for mask in (one.mask, one.candidate_mask))
            if size > MOST_BYTES:
                raise OptionError(f"{one.source}: has too many frames for one result. Predict fewer: frames=10 takes each tenth.")
        return predictions

    def objects(self, dataset: Any, predictions: Sequence[Prediction], kinds: Iterable[str]) -> dict[str, bytes]:
        """Return the files of DICOM objects by their kind.

        Args:
            dataset: DICOM image or clip, as a pydicom ``Dataset``.
            predictions: Its predictions.
            kinds: Kinds of objects.
        """
        image, reference = str(dataset.SOPInstanceUID), read_reference(dataset, identity=self.identity)
        return {kind: self._encoded(kind, predictions, reference, image) for kind in kinds}

    def _encoded(self, kind: str, predictions: Sequence[Prediction], reference: Any, image: str) -> bytes:
        common: dict[str, Any] = {"name": image, "weights": self.algorithm.weights, "uids": self.uids(image, kind)}
        if kind == SEG:
            return encode_dicom_seg(predictions, reference, kind=segmentation_kind(predictions), **common)
        return encode_dicom_sr(predictions, reference, **common)
