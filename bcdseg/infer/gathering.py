"""From a stream of answers to files, and to a journal of what is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bcdseg.data.dicom.scan import DicomFrame
from bcdseg.data.images import ImageSource, source_name
from bcdseg.infer.clip import light
from bcdseg.infer.clip_folder import ClipFolder
from bcdseg.infer.journal import Journal, Record, stamp_of
from bcdseg.infer.output import OutputFolder, table_rows
from bcdseg.infer.prediction import Failure
from bcdseg.infer.predictor import Result

Files = dict[str, list[ImageSource]]


def by_file(sources: Iterable[ImageSource]) -> Files:
    """Single scans under the file that each is of."""
    files: Files = {}
    for source in sources:
        files.setdefault(source.image.name if isinstance(source, DicomFrame) else source_name(source), []).append(source)
    return files


def gather(
    stream: Iterator[Result],
    files: Files,
    journal: Journal,
    *,
    folder: OutputFolder | None,
    clips: ClipFolder,
    classes: Sequence[str],
) -> None:
    """Write the answers for files as they come, in this order, and note each file that is done."""
    for file, scans in files.items():
        _gather_file(file, islice(stream, len(scans)), journal, folder, clips, classes)


def _gather_file(
    file: str,
    stream: Iterator[Result],
    journal: Journal,
    folder: OutputFolder | None,
    clips: ClipFolder,
    classes: Sequence[str],
) -> None:
    held: list[Result] = []
    found: dict[str, Any] = {"rows": [], "results": [], "pictures": []}
    whole, problems = False, len(clips.problems)
    try:
        for answer in stream:
            result, pictures = (answer, []) if folder is None else folder.add(answer)
            found["pictures"] += pictures
            found["results"].append(result.to_dict())
            found["rows"] += table_rows([result], classes)
            held.append(result if isinstance(result, Failure) else light(result))
        clip = clips.sum_up(held)
        found["clip"] = clip and clip.to_dict()
        whole = len(clips.problems) == problems and not any(isinstance(result, Failure) for result in held)
    finally:
        if held:
            journal.add(Record(file=file, stamp=stamp_of(file), whole=whole, **found))


def paths_of(files: Files) -> list[Path]:
    """Of all scans."""
    return [Path(source_name(source)) for scans in files.values() for source in scans]
