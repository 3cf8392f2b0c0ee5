"""Export of a model to a file of another format, with a check before it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bcdseg.data.images import to_gray, to_uint8
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.data.readers import expand, is_single, read_scan
from bcdseg.errors import OptionError, ParityError
from bcdseg.export.formats import FORMATS, Format, Scans
from bcdseg.export.pipeline import Subject
from bcdseg.files import check_free, check_writable, write_together, write_whole
from bcdseg.inference.postprocess import Postprocessing
from bcdseg.inference.predictor import Predictor
from bcdseg.runtimes.agreement import BOUNDS, Difference, compare, synthetic_scans
from bcdseg.runtimes.base import RawOutput
from bcdseg.runtimes.torch_runtime import TorchRuntime
from bcdseg.types import Pixels

MOST_CHECKED, MOST_CALIBRATED = 50, 300


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Result of an export.

    Attributes:
        path: Path of the exported file.
        format: Name of the format: ``onnx``, ``openvino``, ``litert``, ``torch`` or ``monai``.
        precision: Name of the precision: ``fp32``, ``fp16`` or ``int8``.
        size: Size of all its files in bytes.
        difference: Difference between its outputs and the model's.
    """

    path: Path
    format: str
    precision: str
    size: int
    difference: Difference

    def __str__(self) -> str:
        return f"{self.path}: {self.format}, {self.precision}, {self.size / 1e6:.1f} MB. Against the model {self.difference}."


def export(
    subject: Subject, path: Path, *, format: str | None, precision: str, check_on: Any, calibrate_on: Any, overwrite: bool
) -> Exported:
    """Export a model to a file; see ``Model.export``."""
    name, chosen = _chosen(path, format, precision)
    if (precision == "int8") != (calibrate_on is not None):
        raise OptionError("int8 takes its ranges from scans: give calibrate_on= together with precision='int8', and only then.")
    check_free([path], overwrite=overwrite)  # before the conversion, which takes seconds to minutes
    check_writable(path.parent)
    as_input = partial(_as_input, subject.preprocessing, chosen.largest)
    calibration = list(map(as_input, _scans(calibrate_on, MOST_CALIBRATED, "calibrate_on")))
    real = [*map(as_input, _scans(check_on, MOST_CHECKED, "check_on")), *calibration[:MOST_CHECKED]]
    # For int8 a check on synthetic scans would mean little, as its ranges are calibrated on real scans.
    compared = real if precision == "int8" else [*real, *map(as_input, synthetic_scans())]
    contents = chosen.make(subject, precision, calibration)
    targets = {path.with_suffix(suffix): content for suffix, content in contents.items()}
    check_free(targets, overwrite=overwrite)
    difference = _checked(subject, chosen, contents, compared)
    if reason := BOUNDS[precision].exceeded(difference):
        raise ParityError(f"{path}: is not written, since its outputs would differ from the model's: {reason}.")
    if len(targets) == 1:
        write_whole(path, targets[path], overwrite=overwrite)
    else:
        write_together(targets, overwrite=overwrite)
    return Exported(path=path, format=name, precision=precision, size=sum(map(len, contents.values())), difference=difference)


def _chosen(path: Path, name: str | None, precision: str) -> tuple[str, Format]:
    if name is None:
        name = next((each for each, format in FORMATS.items() if format.suffix == path.suffix), None)
    if name is None or name not in FORMATS:
        known = ", ".join(f"{name} ({each.suffix})" for name, each in FORMATS.items())
        wrong = f"{path}: the format is missing" if name is None else f"format={name!r} is unknown"
        raise OptionError(f"{wrong}. Choose a suffix, or format= one of {known}.")
    chosen = FORMATS[name]
    if path.suffix != chosen.suffix:
        raise OptionError(f"{path}: a file of format {name} ends in {chosen.suffix}.")
    if precision not in chosen.precisions:
        raise OptionError(f"precision={precision!r}: format {name} has {', '.join(chosen.precisions)}.")
    return name, chosen


def _scans(source: Any, most: int, option: str) -> Iterator[Pixels]:
    if source is None:
        return
    sources = [source] if is_single(source) else list(islice(expand(source), most))
    if not sources:
        raise OptionError(f"{option}= has no scans: give some, or leave it out.")
    for one in sources:
        image = read_scan(one)
        for area in image.areas:
            yield image.pixels[area.window]


def _as_input(preprocessing: Preprocessing, largest: int | None, pixels: Pixels) -> Scans:
    """Convert a scan to the type, channels and, where required, size of the exported model's input."""
    pixels = to_uint8(pixels)
    picture = Image.fromarray(to_gray(pixels) if preprocessing.channels == 1 else pixels)
    picture = picture.convert("L" if preprocessing.channels == 1 else "RGB")
    if preprocessing.resize == "none":
        stride = preprocessing.stride
        picture = picture.resize((-(-picture.width // stride) * stride, -(-picture.height // stride) * stride))
    elif largest is not None:
        picture.thumbnail((largest, largest))
    return np.asarray(picture)


def _checked(subject: Subject, chosen: Format, contents: dict[str, bytes], scans: Sequence[Scans]) -> Difference:
    """Measure the difference between the outputs of the exported files and the model's."""
    predictor = Predictor(
        runtime=TorchRuntime(subject.network, "cpu", subject.preprocessing.frame),
        preprocessing=subject.preprocessing,
        postprocessing=Postprocessing(
            rules=replace(subject.rules, refinement=None),  # exported models make one pass
            classes=subject.network.config.classes,
            no_lesion=subject.network.config.no_lesion,
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        for suffix, content in contents.items():
            (Path(folder) / f"made{suffix}").write_bytes(content)
        run = chosen.opened(Path(folder) / f"made{chosen.suffix}", subject)

        def both(scan: Scans) -> tuple[RawOutput, RawOutput]:
            found, expected = run(scan[None]), predictor.predict_one(scan)
            classes = np.array([list(expected.probabilities.values())], np.float32) if expected.probabilities else None
            mask = None if expected.mask_probability is None else expected.mask_probability[None]
            return RawOutput(found.get("mask_probability"), found.get("probabilities")), RawOutput(mask, classes)

        return compare(map(both, scans), subject.rules.threshold)
