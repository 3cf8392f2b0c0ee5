"""What a run says of each file as a whole: DICOM segmentations and reports, and the summaries of clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bcdseg.data.dicom.sniff import is_dicom
from bcdseg.errors import ImageError, OptionError, OutputError, OutputExistsError
from bcdseg.files import can_write, check_free
from bcdseg.infer.clip import ClipSummary, clip_file, summarize_clip
from bcdseg.infer.dicom_output import save_dicom_seg, save_dicom_sr
from bcdseg.infer.output import output_names
from bcdseg.infer.prediction import Failure, Prediction
from bcdseg.infer.predictor import Result

KINDS = ("seg", "sr")
PROBE = 2**20  # bytes, about as many as a file of DICOM output has


class ClipFolder:
    """Sums up the answers of one file after another.

    Attributes:
        problems: Why a file's DICOM output could not be written.
    """

    def __init__(
        self, folder: Path | None, sources: Sequence[Path], *, kinds: Iterable[str], overwrite: bool, keep_identifiers: bool
    ) -> None:
        self.folder, self.kinds = folder, tuple(kinds)
        self.overwrite, self.keep_identifiers = overwrite, keep_identifiers
        self.problems: list[str] = []
        self._targets: dict[str, Path] = {}
        if self.kinds and folder is None:
            raise OptionError("--dicom-seg and --dicom-sr write files: say where to with --out FOLDER.")
        if self.kinds and folder is not None:
            files = list(dict.fromkeys(Path(clip_file(Failure(str(source), OptionError()))) for source in sources))
            dicom = [file for file in files if is_dicom(file)]
            if not dicom:
                raise OptionError("--dicom-seg and --dicom-sr refer to DICOM scans, and none of these is DICOM.")
            self._targets = {file: folder / name for file, name in output_names(dicom).items()}
            check_free((self._target(file, kind) for file in self._targets for kind in self.kinds), overwrite=overwrite)

    def sum_up(self, results: Sequence[Result]) -> ClipSummary | None:
        """Write what is asked for of a file; its summary, where it is a clip."""
        predictions = [result for result in results if isinstance(result, Prediction)]
        if not predictions:
            return None
        file = clip_file(predictions[0])
        if file in self._targets:
            self._write(file, predictions)
        return None if predictions[0].frame is None else summarize_clip(results)

    def _write(self, file: str, predictions: Sequence[Prediction]) -> None:
        for kind in self.kinds:
            if kind == "seg" and predictions[0].mask is None:
                continue
            save = save_dicom_seg if kind == "seg" else save_dicom_sr
            try:
                save(predictions, self._target(file, kind), keep_identifiers=self.keep_identifiers, overwrite=self.overwrite)
            except (ImageError, OptionError) as error:  # of this file alone
                self.problems.append(str(error))
            except (OutputError, OutputExistsError) as error:
                if self.folder is None or not can_write(self.folder, PROBE):
                    raise
                self.problems.append(str(error))

    def _target(self, file: str, kind: str) -> Path:
        target = self._targets[file]
        return target.with_name(f"{target.name}_{kind}.dcm")
