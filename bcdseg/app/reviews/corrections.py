"""Folder of corrections: a data set that ``bcdseg.open_dataset`` reads and ``bcdseg train`` learns from.

    corrections.csv            one row per scan and reader
    files/SCAN.png             the scan
    files/SCAN.READER.N.png    the outline of a reader's N-th review
    files/SCAN.READER.json     the latest review of a reader, from which the row is made
    files/SCAN.READER.N.json   an earlier review, where another window had saved it meanwhile

Each review is written immediately and durably. SCAN is a hash of the file and the frame.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.app.reviews.review import Review
from bcdseg.app.sessions import UploadedScan
from bcdseg.data.images import to_uint8
from bcdseg.data.masks import read_mask
from bcdseg.errors import InputError, LimitError, OptionError, OutputError
from bcdseg.files import can_write, remove_parts_below, write_whole
from bcdseg.inference.annotations import single_spacing
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.writers import json_bytes, png_bytes
from bcdseg.partial import locked
from bcdseg.table_text import csv_text
from bcdseg.types import Mask, Pixels
from bcdseg.web.bodies import MEGA

TABLE, FILES = "corrections.csv", "files"
OF_CLASS, OF_OUTLINE = ("predicted_label", "predicted_by", "model_hash"), ("outlined_by", "outline_model_hash", "threshold")
FACTS = ("reader", "saved", "verdict", *OF_CLASS, "outline", *OF_OUTLINE, "source", "frame")
COLUMNS = ("id", "image", "mask", "label", "group", "spacing", *(f"fact:{name}" for name in FACTS))
OURS = re.compile(r"[0-9a-f]{32}(\.[^.]+\.\d+)?\.png")
LATEST = re.compile(r"[0-9a-f]{32}\.[^.]+\.json")
DRAWN, UNCHANGED = "corrected", "as predicted"


@dataclass(frozen=True, kw_only=True)
class Record:
    """Saved review.

    The class and the outline can be of two models: a reader may accept the outline of one, and correct the class of another.

    Attributes:
        scan: Hash of the file and the frame.
        source: Name of the file.
        frame: Frame of a clip, counted from 1.
        file_hash: Hash of the file: the frames of a clip share it.
        spacing: Millimetres per pixel, down and across; None where it is unknown or the regions of the scan differ.
        reader: Name of the reader.
        saved: Time of saving, in UTC.
        revision: Number of the reader's reviews of this scan.
        verdict: One of ``review.VERDICTS``, or None.
        label: Class that the reader chose, or None.
        predicted_label: Class that the model predicted, and that the reader accepted or corrected.
        outline: ``"corrected"``, or ``"as predicted"`` where the reader accepted the model's outline; None where there is none.
        mask: File of the outline.
        predicted_by: Name of the model of this class.
        model_hash: Hash of all that the predictions of this model depend on.
        outlined_by: Name of the model whose outline the reader accepted or corrected.
        outline_model_hash: Hash of all that the predictions of this model depend on.
        threshold: Mask probability from which the model's outline was drawn.
    """

    scan: str
    source: str
    frame: int | None
    file_hash: str
    spacing: tuple[float, float] | None
    reader: str
    saved: str
    revision: int
    verdict: str | None
    label: str | None
    predicted_label: str | None
    outline: str | None
    mask: str | None
    predicted_by: str
    model_hash: str
    outlined_by: str
    outline_model_hash: str
    threshold: float

    @property
    def name(self) -> str:
        """Stem of the names of its files."""
        return f"{self.scan}.{reader_key(self.reader)}"

    @property
    def image(self) -> str:
        """File of the scan."""
        return f"{self.scan}.png"

    # Only what the reader has confirmed is ground truth: both outline and class of an accepted scan, and what was changed by hand
    # in a scan without verdict. The others have neither a mask nor a label.

    @property
    def true_mask(self) -> str | None:
        """File of the outline, where it is ground truth."""
        return self.mask if self.verdict == "accepted" or (self.verdict is None and self.outline == DRAWN) else None

    @property
    def true_label(self) -> str | None:
        """Class, where it is ground truth."""
        if self.verdict == "accepted":
            return self.label or self.predicted_label
        return self.label if self.verdict is None else None

    def row(self) -> list[Any]:
        """Return its row of the table."""
        spacing = None if self.spacing is None else ";".join(map(repr, self.spacing))
        mask = None if self.true_mask is None else f"{FILES}/{self.true_mask}"
        facts = [getattr(self, name) for name in FACTS]
        return [self.name, f"{FILES}/{self.image}", mask, self.true_label, self.file_hash, spacing, *facts]


def file_hash(scan: UploadedScan) -> str:
    """Return a hash of the content of a scan's file."""
    return scan.video_hash or blake2b(scan.content, digest_size=16).hexdigest()


def scan_key(scan: UploadedScan) -> str:
    """Return a hash of a scan's file and frame: the same file has the same key in each session."""
    return blake2b(f"{file_hash(scan)}#{scan.frame or ''}".encode(), digest_size=16).hexdigest()


def reader_key(name: str) -> str:
    """Return a name of a reader for file names; two readers never share one."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:30]}-{blake2b(name.encode(), digest_size=4).hexdigest()}"


class Corrections:
    """Corrections in a folder, which is created with the first one. Several servers and windows can use it at the same time.

    Args:
        folder: The folder: new, empty, or one that was written here before.
        most_bytes: Largest size of all its files together.

    Raises:
        OptionError: The folder contains something else.
        OutputError: It can't be written.
        InputError: A review in it is damaged.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self.folder, self._most_bytes = folder.absolute(), most_bytes
        self._lock = Lock()
        self._read: dict[str, tuple[tuple[int, ...], Record]] = {}
        if folder.exists() and not folder.is_dir():
            raise OptionError(f"{folder}: is not a folder. Choose another one for the corrections.")
        if folder.is_dir() and not can_write(folder, 1):
            raise OutputError(f"{folder}: can't be written. Choose another folder for the corrections.")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / TABLE).exists() and not (folder / FILES).is_dir():
            raise OptionError(f"{folder}: contains files that are not corrections. Choose a new or an empty folder.")
        self.records()
        if folder.is_dir():
            self._complete()

    def of(self, scan: UploadedScan) -> list[Record]:
        """Return the latest review of a scan by each reader, in the order of saving."""
        key = scan_key(scan)
        return [record for record in self.records() if record.scan == key]

    def records(self) -> list[Record]:
        """Return the latest reviews of all scans, in the order of saving."""
        with self._lock:
            found = {}
            for path in (self.folder / FILES).glob("*.json"):
                if LATEST.fullmatch(path.name):
                    stat = path.stat()
                    stamp, before = (stat.st_mtime_ns, stat.st_size, stat.st_ino), self._read.get(path.name)
                    found[path.name] = before if before and before[0] == stamp else (stamp, _record(path))
            self._read = found
        return sorted((record for _, record in found.values()), key=lambda record: (record.saved, record.name))

    def mask(self, record: Record, size: tuple[int, int]) -> Mask | None:
        """Return the outline of a review."""
        return None if record.mask is None else read_mask([self.folder / FILES / record.mask], size)

    def save(self, scan: UploadedScan, review: Review, prediction: Prediction, model_hash: str) -> tuple[Record, bool]:
        """Write a review, and the table again; return the review, and whether an earlier one was kept next to it.

        An earlier review of the same reader is kept where the page has not displayed it: another window has saved it meanwhile.

        Args:
            scan: The scan.
            review: The review.
            prediction: The prediction that the page displayed.
            model_hash: Hash of the model.

        Raises:
            LimitError: The folder has reached its size.
            OutputError: It can't be written.
        """
        files = self.folder / FILES
        try:
            files.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{files}: can't be created ({error.strerror}). Choose another folder: --corrections.") from error
        with locked(self.folder):
            before = next((one for one in self.of(scan) if one.reader == review.reader), None)
            displayed = before if before is not None and before.revision == review.revision else None
            drawn = None if displayed is None else self.mask(displayed, prediction.size)
            mask, outline = _outline(review, prediction, model_hash, displayed, drawn)
            facts = outline | _class(review, prediction, model_hash, displayed)
            record = _new_record(scan, review, prediction, mask, facts, before)
            contents = {} if mask is None or record.mask is None else {record.mask: png_bytes(Image.fromarray(mask))}
            if not (files / record.image).exists():
                contents[record.image] = scan_png(prediction.image)
            self._check_space(sum(map(len, contents.values())))
            kept = before is not None and displayed is None
            if before is not None and kept:
                contents[f"{before.name}.{before.revision}.json"] = json_bytes(asdict(before))
            for name, content in contents.items():
                write_whole(files / name, content, overwrite=True, durable=True)
            write_whole(files / f"{record.name}.json", json_bytes(asdict(record)), overwrite=True, durable=True)
            records = self.records()
            write_whole(self.folder / TABLE, table(records), overwrite=True, durable=True)
            self._remove_unused(records)
        return record, kept

    def contents(self, scans: Sequence[UploadedScan]) -> Mapping[str, Path | bytes]:
        """Return the files of a data set with the reviews of some scans: images as paths, the others, which change, as bytes."""
        keys, files = {scan_key(scan) for scan in scans}, self.folder / FILES
        if not files.is_dir():
            return {}
        with locked(self.folder):  # another window may replace a review at any time
            records = [record for record in self.records() if record.scan in keys]
            names = [name for record in records for name in (record.mask, f"{record.name}.json") if name]
            reviews = {f"{FILES}/{name}": (files / name).read_bytes() for name in names}
        images = {f"{FILES}/{record.image}": files / record.image for record in records}
        return {TABLE: table(records), **images, **reviews} if records else {}

    def _complete(self) -> None:
        """Complete the work of a killed server: write the table again, and remove files that belong to no review."""
        with locked(self.folder):
            remove_parts_below(self.folder)
            records = self.records()
            written, expected = self.folder / TABLE, table(records)
            if records and (not written.exists() or written.read_bytes() != expected):
                write_whole(written, expected, overwrite=True, durable=True)
            self._remove_unused(records)

    def _remove_unused(self, records: Sequence[Record]) -> None:
        """Remove images and outlines that belong to no review: neither to a latest one nor to an earlier one that was kept."""
        used = {name for record in records for name in (record.image, record.mask)}
        for path in (self.folder / FILES).glob("*.png"):
            if OURS.fullmatch(path.name) and path.name not in used and not path.with_suffix(".json").exists():
                path.unlink(missing_ok=True)

    def _check_space(self, size: int) -> None:
        used = sum(path.stat().st_size for path in (self.folder / FILES).iterdir() if path.is_file())
        if used + size > self._most_bytes:
            raise LimitError(f"{self.folder}: has {self._most_bytes // MEGA} MB, the most for corrections. Choose another folder.")


def table(records: Sequence[Record]) -> bytes:
    """Return the table of a data set of reviews."""
    return csv_text(COLUMNS, [record.row() for record in records]).encode("utf-8", "backslashreplace")


def scan_png(pixels: Pixels) -> bytes:
    """Return the pixels of a scan as PNG; gray ones of more than 8 bits with 16."""
    if pixels.dtype == np.uint8 or pixels.ndim == 3:
        return png_bytes(Image.fromarray(to_uint8(pixels)))
    return png_bytes(Image.fromarray((pixels * 65535 + 0.5).astype(np.uint16)))


# The page may display another model than when the reader accepted or changed something: what is unchanged keeps its model.


def _outline(
    review: Review, prediction: Prediction, model_hash: str, displayed: Record | None, drawn: Mask | None
) -> tuple[Mask | None, dict[str, Any]]:
    """Return the outline of a review and its model; ``displayed`` is the review that the page displayed, ``drawn`` its outline."""
    accepted = prediction.mask if review.verdict == "accepted" else None
    mask = accepted if review.mask is None else review.mask
    state = None if mask is None else UNCHANGED if _is_same(mask, prediction.mask) else DRAWN
    new: dict[str, Any] = dict(zip(OF_OUTLINE, (prediction.model, model_hash, prediction.threshold), strict=True))
    if displayed is None:
        return mask, new | {"outline": state}
    kept = {name: getattr(displayed, name) for name in new}
    if mask is None:
        return None, (kept if drawn is None and _same_verdict(review, displayed) else new) | {"outline": None}
    if review.mask is not None and _is_same(mask, drawn):
        return mask, kept | {"outline": displayed.outline}
    return mask, (kept if drawn is not None and state == DRAWN else new) | {"outline": state}


def _class(review: Review, prediction: Prediction, model_hash: str, displayed: Record | None) -> dict[str, Any]:
    """Return the predicted class that a review is about and its model; ``displayed`` is the review that the page displayed."""
    new = dict(zip(OF_CLASS, (prediction.label, prediction.model, model_hash), strict=True))
    if displayed is None or review.label != displayed.label or (review.label is None and not _same_verdict(review, displayed)):
        return new
    return {name: getattr(displayed, name) for name in new}


def _is_same(mask: Mask, other: Mask | None) -> bool:
    return other is not None and bool((mask == other).all())


def _same_verdict(review: Review, displayed: Record) -> bool:
    return review.verdict is not None and review.verdict == displayed.verdict


def _new_record(
    scan: UploadedScan, review: Review, prediction: Prediction, mask: Mask | None, facts: Mapping[str, Any], before: Record | None
) -> Record:
    key, revision = scan_key(scan), 1 + (before.revision if before else 0)
    return Record(
        scan=key,
        source=scan.file_name,
        frame=scan.frame,
        file_hash=file_hash(scan),
        spacing=single_spacing(prediction),
        reader=review.reader,
        saved=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        revision=revision,
        verdict=review.verdict,
        label=review.label,
        mask=None if mask is None else f"{key}.{reader_key(review.reader)}.{revision}.png",
        **facts,
    )


def _record(path: Path) -> Record:
    try:
        fields = json.loads(path.read_bytes())
        spacing = fields["spacing"]
        fields["spacing"] = None if spacing is None else (float(spacing[0]), float(spacing[1]))
        before_two = {"outlined_by": fields["predicted_by"], "outline_model_hash": fields["model_hash"]}  # until 0.2: one model
        return Record(**before_two | fields)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: is not a review that bcdseg app has written ({error}). Move it out of the folder.") from error
