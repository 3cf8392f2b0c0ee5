"""Batch run, from a stream of predictions to files and a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bcdseg.batch.run_manifest import Journal, Record, stamp_of
from bcdseg.data.video import VideoFrame
from bcdseg.dicom.algorithm import Algorithm
from bcdseg.dicom.deidentify import RANDOM, read_reference
from bcdseg.dicom.guard import guarded, pydicom
from bcdseg.dicom.result_root import REPORT, ImageResults, StudyObject, encode_result_root
from bcdseg.dicom.scan import DicomFrame
from bcdseg.errors import BcdsegError, ImageError, OptionError, OutputError, OutputExistsError
from bcdseg.files import can_write
from bcdseg.inference.annotations import COCO_FILE, annotation, annotation_endings, annotation_files, coco_file
from bcdseg.inference.clips import ClipSummary, clip_file, summarize_clip, without_maps
from bcdseg.inference.dicom_output import save_dicom_seg, save_dicom_sr
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.predictor import Result
from bcdseg.inference.writers import csv_bytes, json_bytes, output_names, pictures_of, table_rows
from bcdseg.sources import ImageSource, is_dicom, source_name
from bcdseg.types import Failure

KINDS = ("seg", "sr")
CLIPS = "clips.json"
TABLES = ("predictions.csv", "predictions.json", CLIPS)
PROBE = 2**20  # bytes, about the size of a DICOM output file
UIDS = ["SOPClassUID", "SeriesInstanceUID", "SOPInstanceUID"]


class ClipFolder:
    """Writer of the DICOM output and of the summary of each clip.

    Attributes:
        problems: Messages for files whose DICOM output could not be written.
    """

    def __init__(self, journal: Journal, sources: Sequence[Path], *, base: Path | None = None, kinds: Iterable[str]) -> None:
        self.folder, self.journal, self.kinds = journal.folder, journal, tuple(kinds)
        self.problems: list[str] = []
        self._names: dict[str, str] = {}
        if self.kinds and self.folder is None:
            raise OptionError("--dicom-seg and --dicom-sr write files: give their folder with --out FOLDER.")
        if self.kinds:
            files = list(dict.fromkeys(Path(clip_file(Failure(str(source), OptionError()))) for source in sources))
            names = output_names(files, base)  # of all files, so that a DICOM file's output is next to its mask
            self._names = {file: name for file, name in names.items() if is_dicom(file)}
            if not self._names:
                raise OptionError("--dicom-seg and --dicom-sr refer to DICOM scans, and none of these is DICOM.")
            journal.check_free(self._output(file, kind) for file in self._names for kind in self.kinds)

    def sum_up(self, results: Sequence[Result]) -> tuple[ClipSummary | None, list[str]]:
        """Write the DICOM output of a file; return its summary, which is None unless it is a clip, and the names of the output."""
        predictions = [result for result in results if isinstance(result, Prediction)]
        if not predictions:
            return None, []
        file = clip_file(predictions[0])
        outputs = self._write(file, predictions) if file in self._names else []
        return (None if predictions[0].frame is None else summarize_clip(results)), outputs

    def written(self, files: Iterable[str]) -> Iterator[tuple[str, list[Path]]]:
        """Yield those of the files that have DICOM output, and its paths, the report first."""
        for file in files:
            if file in self._names and self.folder is not None:
                paths = [self.folder / self._output(file, kind) for kind in sorted(self.kinds, reverse=True)]
                if there := [path for path in paths if path.is_file()]:
                    yield file, there

    def _write(self, file: str, predictions: Sequence[Prediction]) -> list[str]:
        """Write the DICOM output of a file, and return the names of what could be written."""
        assert self.folder is not None
        outputs = []
        for kind in self.kinds:
            if kind == "seg" and predictions[0].mask is None:
                continue
            save, output = save_dicom_seg if kind == "seg" else save_dicom_sr, self._output(file, kind)
            try:
                self.journal.claim([output])
                save(predictions, self.folder / output, overwrite=True)
                outputs.append(output)
            except (ImageError, OptionError) as error:  # an error of this file alone
                self.problems.append(str(error))
            except (OutputError, OutputExistsError) as error:
                if not can_write(self.folder, PROBE):
                    raise
                self.problems.append(str(error))
        return outputs

    def _output(self, file: str, kind: str) -> str:
        return f"{self._names[file]}_{kind}.dcm"


Files = dict[str, list[ImageSource]]


def by_file(sources: Iterable[ImageSource]) -> Files:
    """Group single scans by their file."""
    files: Files = {}
    for source in sources:
        file = source.image.name if isinstance(source, (DicomFrame, VideoFrame)) else source_name(source)
        files.setdefault(file, []).append(source)
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
    """Write the predictions of files in the order of the stream, and record each file that is done."""
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
    kept: list[Result] = []
    found: dict[str, Any] = {"rows": [], "results": [], "pictures": [], "annotations": []}
    whole, problems = False, len(clips.problems)
    try:
        for predicted in stream:
            result, pictures, entries = (predicted, [], []) if folder is None else folder.add(predicted)
            found["pictures"] += pictures
            found["annotations"] += entries
            found["results"].append(result.to_dict())
            found["rows"] += table_rows([result], classes)
            kept.append(result if isinstance(result, Failure) else without_maps(result))
        clip, outputs = clips.sum_up(kept)
        found["clip"] = clip and clip.to_dict()
        found["pictures"] += outputs
        whole = len(clips.problems) == problems and not any(isinstance(result, Failure) for result in kept)
    finally:
        if kept:
            journal.add(Record(file=file, stamp=stamp_of(file), whole=whole, **found))


def paths_of(files: Files) -> list[Path]:
    """Return the paths of all scans."""
    return [Path(source_name(source)) for scans in files.values() for source in scans]


class OutputFolder:
    """Output folder of a run: a mask, an overlay and an annotation per scan where configured, and tables at the end.

    Names are those of the scans below ``base``, by default their common folder; names too long for a file end in a hash. Files
    that exist and that no run has written are reported before anything is predicted.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Path],
        journal: Journal,
        *,
        base: Path | None = None,
        masks: bool = True,
        overlay: bool,
        annotations: str | None = None,
    ) -> None:
        self.folder, self.journal = folder, journal
        self.masks = masks
        self.annotations = annotations
        self.overlay = overlay
        self._names = output_names(sources, base)
        kinds = [*["_mask.png"] * masks, *["_overlay.png", "_heatmap.png"] * overlay, *annotation_endings(annotations)]
        tables = [*TABLES, *[COCO_FILE] * (annotations == "coco")]
        journal.check_free([*tables, *(f"{name}{kind}" for name in self._names.values() for kind in kinds)])

    def add(self, result: Result) -> tuple[Result, list[str], list[dict[str, Any]]]:
        """Write the mask, the overlays and the annotation of one result.

        Returns:
            The result, the names of its files, and its entries for the COCO file. Where its outlines can't be annotated, or a file
            can't be written and others can, a ``Failure``, no names and no entries.

        Raises:
            OutputError: Nothing can be written any more, as on a full disk.
        """
        if isinstance(result, Failure):
            return result, [], []
        name = self._names[result.source]
        pictures = pictures_of(result, name, masks=self.masks, overlay=self.overlay)
        entries: list[dict[str, Any]] = []
        try:
            if self.annotations is not None:
                pictures |= annotation_files(result, self.annotations, name, self.folder)
            if self.annotations == "coco":
                entries = [annotation(result, self.annotations, name, self.folder)]
        except BcdsegError as problem:
            return Failure(result.source, problem), [], []
        error = self.journal.write_pictures(pictures)
        return (result, list(pictures), entries) if error is None else (Failure(result.source, error), [], [])

    def write_tables(self, records: Sequence[Record], classes: Sequence[str]) -> None:
        """Write ``predictions.csv``, one row per scan, ``predictions.json``, all results, and ``clips.json`` for clips.

        In COCO's format, the annotations of all scans are written too.
        """
        if self.annotations == "coco":
            self.journal.write(COCO_FILE, coco_file([entry for record in records for entry in record.annotations]))
        rows = [row for record in records for row in record.rows]
        results = [result for record in records for result in record.results]
        clips = [record.clip for record in records if record.clip is not None]
        for name, content in zip(TABLES, (csv_bytes(rows, classes), json_bytes(results), json_bytes(clips)), strict=True):
            if clips or name != CLIPS:
                self.journal.write(name, content)


class StudyRoots:
    """Writer of one report per study, ``study_UID_root.dcm``.

    Attributes:
        problems: Messages for files and studies without a report.
    """

    def __init__(self, folder: Path, journal: Journal, *, identity: str) -> None:
        self.journal, self.identity = journal, identity
        self.problems: list[str] = []
        journal.check_free(path.name for path in folder.glob("study_*_root.dcm"))

    def write(self, results: Iterable[tuple[str, Sequence[Path]]], *, model: str) -> None:
        """Write the reports, in place of those of a run that is resumed.

        Args:
            results: Scans, and the DICOM files of their results.
            model: Name of the model.
        """
        studies: dict[str, list[tuple[Any, ImageResults]]] = {}
        for file, paths in results:
            try:
                reference = read_reference(file, identity=self.identity)
                found = ImageResults(image=_object(reference), results=[_read_object(path) for path in paths])
                studies.setdefault(str(reference.StudyInstanceUID), []).append((reference, found))
            except BcdsegError as error:
                self.problems.append(str(error))
        for study, images in studies.items():
            try:
                root = StudyObject(sop_class=REPORT, series=str(RANDOM("series")), uid=str(RANDOM("instance")))
                content = encode_result_root(root, [found for _, found in images], images[0][0], algorithm=Algorithm(model))
                self.journal.write(f"study_{study}_root.dcm", content)
            except BcdsegError as error:
                self.problems.append(str(error))


def _read_object(path: Path) -> StudyObject:
    with guarded(str(path)):
        return _object(pydicom().dcmread(path, stop_before_pixels=True, specific_tags=UIDS))


def _object(dataset: Any) -> StudyObject:
    return StudyObject(sop_class=str(dataset.SOPClassUID), series=str(dataset.SeriesInstanceUID), uid=str(dataset.SOPInstanceUID))
