"""Results of a model for one image of a PACS, as DICOM objects whose UIDs follow from the image and the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from bcdseg.batch.run_manifest import fingerprint, settings_of
from bcdseg.dicom.deidentify import PACS, read_reference
from bcdseg.dicom.uids import ObjectUids
from bcdseg.errors import OptionError
from bcdseg.inference.clips import without_maps
from bcdseg.inference.dicom_output import MOST_BYTES, encode_dicom_seg, encode_dicom_sr
from bcdseg.inference.prediction import Prediction

if TYPE_CHECKING:
    from bcdseg.model.model import Model

SEG, SR = "seg", "sr"
KINDS = (SEG, SR)


@dataclass(frozen=True, kw_only=True)
class ResultMaker:
    """A model with its options, and the kinds of objects that it makes.

    The UIDs of an object follow from the UID of its image, the weights, the options and the version of the library. So an object
    that is made again is the same object for a PACS, and nothing is stored twice.

    Attributes:
        model: The model.
        kinds: Kinds of objects: ``"seg"``, ``"sr"`` or both.
        options: Options of ``Model.predict``.
    """

    model: Model
    kinds: tuple[str, ...]
    options: Mapping[str, Any]
    key: str

    @classmethod
    def of(cls, model: Model, kinds: Iterable[str], options: Mapping[str, Any]) -> ResultMaker:
        """Return the maker of a model's results."""
        chosen = tuple(dict.fromkeys(kinds))
        if not chosen or not set(chosen) <= set(KINDS):
            raise OptionError(f"kinds={chosen!r}: choose 'seg' (outlines), 'sr' (measurements) or both.")
        if model.network.config.decoder is None:
            if SR not in chosen:
                raise OptionError(f"kinds={chosen!r}: {model.name} only classifies and has no outlines. Choose 'sr'.")
            chosen = (SR,)
        weights = fingerprint(model.network, model.preprocessing, model.rules)
        settings = sorted(settings_of(model.name, weights, options).items())
        return cls(model=model, kinds=chosen, options=options, key=blake2b(repr(settings).encode(), digest_size=16).hexdigest())

    def uids(self, image: str, kind: str) -> ObjectUids:
        """Return the UIDs of the object of a kind for the image with this UID."""
        return ObjectUids(f"{kind} of {image} by {self.key}")

    def missing(self, image: str, stored: Iterable[str]) -> list[str]:
        """Return the kinds whose object for an image is not among the stored ones."""
        there = set(stored)
        return [kind for kind in self.kinds if self.uids(image, kind)("instance") not in there]

    def predict(self, dataset: Any) -> list[Prediction]:
        """Return the predictions for an image, or for the frames of a clip, with masks as their only arrays.

        Raises:
            ImageError: The image, or a frame of the clip, can't be read.
        """
        found = self.model.predict(dataset, identity=PACS, **self.options)
        predictions: list[Prediction] = []
        size = 0
        for one in [found] if isinstance(found, Prediction) else found:
            predictions.append(without_maps(one))
            size += sum(0 if mask is None else mask.nbytes for mask in (one.mask, one.candidate_mask))
            if size > MOST_BYTES:
                raise OptionError(f"{one.source}: has too many frames for one result. Predict fewer: frames=10 takes each tenth.")
        return predictions

    def objects(self, dataset: Any, predictions: Sequence[Prediction], kinds: Iterable[str]) -> dict[str, bytes]:
        """Return the files of DICOM objects by their UID: for a PACS, in the study of the image."""
        image, reference = str(dataset.SOPInstanceUID), read_reference(dataset, identity=PACS)
        encoders = {SEG: encode_dicom_seg, SR: encode_dicom_sr}
        made = {}
        for kind in kinds:
            uids = self.uids(image, kind)
            made[str(uids("instance"))] = encoders[kind](predictions, reference, name=image, uids=uids)
        return made
