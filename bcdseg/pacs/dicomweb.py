"""Prediction of studies of a PACS over DICOMweb."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bcdseg.data.readers import each_frame
from bcdseg.dicom.deidentify import PACS
from bcdseg.errors import BcdsegError, OptionError, PacsError, PacsObjectError
from bcdseg.pacs.results import KINDS, ROOT, ResultMaker, store_root
from bcdseg.pacs.server import DicomWebServer, Instance, check_uid
from bcdseg.sources import unexpected_error

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.model.model import Model


@dataclass(frozen=True, kw_only=True)
class PacsResult:
    """The outcome for one image or clip of a study.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID of the image.
        image: SOP Instance UID of the image.
        stored: SOP Instance UIDs of the objects that were stored now; empty if the server had all of them.
        predictions: Prediction for the image, or for each frame of the clip, which then has no arrays except masks; empty if
            nothing was predicted.
        error: Reason why there is no result, or why the report that lists all results is not stored; None after success.
        root: SOP Instance UID of the report that lists all results of the study, if it was stored now. It is stored after the last
            image of the study, so the results of the others have none.
    """

    study: str
    series: str
    image: str
    stored: tuple[str, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    error: BcdsegError | None = None
    root: str | None = None


def predict_dicomweb(
    model: Model,
    server: DicomWebServer,
    *,
    study: str | Iterable[str] | None = None,
    query: Mapping[str, str] | None = None,
    kinds: Iterable[str] = (*KINDS, ROOT),
    frames: str | int = "all",
    threshold: float | None = None,
    operating_point: str | None = None,
) -> Iterator[PacsResult]:
    """Predict the ultrasound images of studies in a PACS, and store the results in the same studies.

    Outlines are stored as a DICOM segmentation and measurements as a structured report, for each image or clip, with its patient
    and study, and for each study a report that lists all of them. Results that the server has from an earlier run with the same
    model and options are neither predicted nor stored again, so a run that was stopped resumes when it is started again.

    Args:
        model: Model that predicts.
        server: The PACS.
        study: Study Instance UID, or several.
        query: In place of ``study``, a search by DICOM keyword, such as ``{"PatientID": "4711"}``.
        kinds: Objects to store: ``"seg"``, ``"sr"`` or both, and ``"root"``, the report that lists all results of a study.
        frames: Frames of clips: ``"all"``, or n for each n-th frame, starting from the first.
        threshold: Mask probability from which a pixel is outlined; by default the model's threshold.
        operating_point: As in ``Model.predict``.

    Returns:
        An iterator of results, one per image or clip, which predicts and stores lazily. An image that can't be read, or an object
        that the server refuses, is a result with an error.

    Raises:
        OptionError: An option is not possible.
        PacsError: The server can't be reached or refuses the user. All results before it are stored.
    """
    if (study is None) == (query is None):
        raise OptionError("Give either study=, the UID of a study, or query=, what to search for.")
    each_frame(frames)
    options = {"frames": frames, "threshold": threshold, "operating_point": operating_point}
    wanted = list(kinds)
    maker = ResultMaker.of(model, [kind for kind in wanted if kind != ROOT], options, identity=PACS)
    named = [study] if isinstance(study, str) else list(study or ())
    for uid in named:
        check_uid(uid)
    return _predict_all(maker, server, named, query, with_root=ROOT in wanted)


def _predict_all(
    maker: ResultMaker, server: DicomWebServer, studies: Iterable[str], query: Mapping[str, str] | None, *, with_root: bool
) -> Iterator[PacsResult]:
    has_ultrasound = False
    for study in studies if query is None else server.search(query):
        found = server.instances(study)
        if not found:
            raise PacsError(f"{server.url}: has no study {study}. Check the UID, and what the user may see.")
        images = [one for one in found if one.is_ultrasound]
        if not images and query is None:
            raise PacsError(f"{server.url}: study {study} has no ultrasound among its {len(found)} objects.")
        if images:
            has_ultrasound = True
            yield from _predict_study(maker, server, found, images, with_root=with_root)
    if query is not None and not has_ultrasound:
        raise PacsError(f"{server.url}: has no study with ultrasound that matches the query. Check it, and what the user may see.")


def _predict_study(
    maker: ResultMaker, server: DicomWebServer, found: Sequence[Instance], images: Sequence[Instance], *, with_root: bool
) -> Iterator[PacsResult]:
    stored = {one.uid for one in found}
    for image in images:
        result = predict_instance(maker, server, image, stored)
        stored.update(result.stored)
        if with_root and image is images[-1]:
            result = _with_root(result, maker, server, found, stored)
        yield result


def _with_root(
    result: PacsResult, maker: ResultMaker, server: DicomWebServer, found: Sequence[Instance], stored: Collection[str]
) -> PacsResult:
    try:
        return replace(result, root=store_root(maker, server, found, stored))
    except BcdsegError as error:
        if isinstance(error, PacsError) and not isinstance(error, PacsObjectError):
            raise
        return replace(result, error=result.error or error)


def predict_instance(maker: ResultMaker, server: DicomWebServer, image: Instance, stored: Iterable[str]) -> PacsResult:
    """Predict an image of a server and store its results, except those that are stored."""
    place = partial(PacsResult, study=image.study, series=image.series, image=image.uid)
    missing = maker.missing(image.uid, stored)
    if not missing:
        return place()
    try:
        dataset = server.retrieve(image)
        predictions = maker.predict(dataset)
        objects = maker.objects(dataset, predictions, missing)
        server.store(image.study, list(objects.values()))
    except BcdsegError as error:
        if isinstance(error, PacsError) and not isinstance(error, PacsObjectError):
            raise
        return place(error=error)
    except Exception as error:
        return place(error=unexpected_error(image.uid, "can't be predicted", error))
    stored_now = tuple(str(maker.uids(image.uid, kind)("instance")) for kind in objects)
    return place(stored=stored_now, predictions=tuple(predictions))
