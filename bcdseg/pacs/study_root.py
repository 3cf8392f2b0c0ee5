"""The report that lists all results of a study of a PACS."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bcdseg.dicom.result_root import REPORT, SEGMENTATION, ImageResults, StudyObject, encode_result_root
from bcdseg.pacs.results import SEG, SR, ResultMaker
from bcdseg.pacs.server import DicomWebServer, Instance

ROOT = "root"


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
