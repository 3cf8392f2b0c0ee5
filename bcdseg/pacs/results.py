"""Results of a model as DICOM objects, whose UIDs follow from image and model, and the report that lists those of a study."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from bcdseg.batch.run_manifest import fingerprint, settings_of
from bcdseg.dicom.algorithm import Algorithm
from bcdseg.dicom.deidentify import ObjectUids, choose_identity, read_reference
from bcdseg.dicom.result_root import REPORT, SEGMENTATION, ImageResults, StudyObject, encode_result_root
from bcdseg.errors import OptionError
from bcdseg.inference.clips import without_maps
from bcdseg.inference.dicom_output import MOST_BYTES, encode_dicom_seg, encode_dicom_sr, segmentation_kind
from bcdseg.inference.prediction import Prediction
from bcdseg.pacs.server import DicomWebServer, Instance

if TYPE_CHECKING:
    from bcdseg.model.model import Model

SEG, SR = "seg", "sr"
KINDS: tuple[str, ...] = (SEG, SR)

ROOT = "root"


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
        reference = read_reference(dataset, identity=self.identity)
        image = str(dataset.SOPInstanceUID)
        return {kind: self._encoded(kind, predictions, reference, image) for kind in kinds}

    def _encoded(self, kind: str, predictions: Sequence[Prediction], reference: Any, image: str) -> bytes:
        common: dict[str, Any] = {"name": image, "weights": self.algorithm.weights, "uids": self.uids(image, kind)}
        if kind == SEG:
            return encode_dicom_seg(predictions, reference, kind=segmentation_kind(predictions), **common)
        return encode_dicom_sr(predictions, reference, **common)


def store_root(maker: ResultMaker, server: DicomWebServer, listed: Sequence[Instance], stored: Collection[str]) -> str | None:
    """Store the report that lists all results of a study, unless the server has it.

    Its UID follows from the results that it lists. So a study with more results than before gets a new report, which refers to the
    earlier ones in the same series.

    Args:
        maker: Maker of the results.
        server: The PACS.
        listed: Objects of the study: those that the server listed, and predicted images that it may not have yet.
        stored: UIDs of these objects and of those that were stored since.

    Returns:
        SOP Instance UID of the report; None if it was not stored, because the server has it or the study has no results.

    Raises:
        PacsObjectError: The server doesn't deliver a result, or doesn't store the report.
        PacsError: The server can't be reached, or refuses the user.
    """
    by_uid, study = {one.uid: one for one in listed}, listed[0].study
    found = [(one, _results(maker, one, by_uid, stored)) for _, one in sorted(by_uid.items())]
    images = [each for _, each in found if each.results]
    results = [one for image in images for one in image.results]
    root = _own(maker, study, results)
    if not results or root.uid in stored:
        return None
    modality = next(one.modality for one, each in found if each.results)
    earlier = [_object(one) for one in listed if one.series == root.series]
    content = encode_result_root(
        root, images, _header(server, study, results[0], modality), algorithm=maker.algorithm, earlier=earlier
    )
    server.store(study, [content])
    return root.uid


def _results(maker: ResultMaker, image: Instance, by_uid: Mapping[str, Instance], stored: Collection[str]) -> ImageResults:
    """Return the results of an image that the server has, the report first."""
    results = []
    for kind, sop_class in ((SR, REPORT), (SEG, SEGMENTATION)):
        uids = maker.uids(image.uid, kind)
        uid = str(uids("instance"))
        if uid in by_uid:
            results.append(_object(by_uid[uid]))
        elif uid in stored:
            results.append(StudyObject(sop_class=sop_class, series=str(uids("series")), uid=uid))
    return ImageResults(image=_object(image), results=results)


def _object(one: Instance) -> StudyObject:
    return StudyObject(sop_class=one.sop_class, series=one.series, uid=one.uid)


def _own(maker: ResultMaker, study: str, results: Sequence[StudyObject]) -> StudyObject:
    """Return the class and UIDs of the report; the series is the same for all reports of a study."""
    contained = f"{study} with {', '.join(sorted(one.uid for one in results))}"
    uid, series = maker.uids(contained, ROOT)("instance"), maker.uids(study, ROOT)("series")
    return StudyObject(sop_class=REPORT, series=str(series), uid=str(uid))


def _header(server: DicomWebServer, study: str, result: StudyObject, modality: str) -> Any:
    """Return the elements of patient and study, which are those of a result, because an image may be large."""
    header = server.retrieve(Instance(study=study, series=result.series, uid=result.uid, sop_class=result.sop_class, modality=""))
    header.Modality = modality
    return header
