"""Command ``bcdseg dicomweb``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli.pacs import options as option
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.pacs.dicomweb import PacsResult


def dicomweb_command(
    server: option.Url,
    study: option.Studies = None,
    query: option.Query = None,
    frames: option.Frames = 1,
    model: common.ModelName = DEFAULT_MODEL,
    device: common.Device = "auto",
    seg: option.Seg = True,
    sr: option.Sr = True,
    threshold: option.Threshold = None,
    operating_point: option.OperatingPoint = None,
    user: option.User = None,
    password_file: option.PasswordFile = None,
    token_file: option.TokenFile = None,
    ca_file: option.CaFile = None,
    timeout: option.Timeout = 60.0,
    attempts: option.Attempts = 3,
) -> None:
    """Predict the ultrasound of studies in a PACS, and store the results in the same studies.

    Images are read by QIDO-RS and WADO-RS, results stored by STOW-RS. What is stored is not stored again, so a run that was
    stopped resumes when it is started again.

    Exit status: 0 all good, 1 some images have no result, 2 wrong usage or no connection.

    Examples:
      bcdseg dicomweb --server https://pacs.example.org/dicom-web --user reader --study 1.2.840.1
      bcdseg dicomweb --server https://pacs.example.org/dicom-web --query PatientID=4711 --query StudyDate=20240101-
    """
    from bcdseg.errors import OptionError
    from bcdseg.model.registry import load
    from bcdseg.pacs.dicomweb import predict_dicomweb

    if not study and not query:
        raise OptionError("Name the studies: --study UID, or --query KEYWORD=VALUE.")
    kinds = option.kinds_of(seg, sr)
    pacs = option.open_server(server, user, password_file, token_file, ca_file, timeout, attempts)
    results = predict_dicomweb(
        load(model, device=device),
        pacs,
        study=study or None,
        query=_query(query) if query else None,
        kinds=kinds,
        frames=frames,
        threshold=threshold,
        operating_point=operating_point,
    )
    _print_results(results)


def _query(given: Iterable[str]) -> dict[str, str]:
    from bcdseg.errors import OptionError

    query: dict[str, str] = {}
    for one in given:
        keyword, mark, value = one.partition("=")
        if not mark or not value or keyword in query:
            raise OptionError(f"--query {one}: give each keyword once, with a value, such as --query PatientID=4711.")
        query[keyword] = value
    return query


def _print_results(results: Iterable[PacsResult]) -> None:
    """Print a line per image as its result comes, and a summary, also when the server fails in between."""
    counts = {"stored": 0, "complete": 0, "failed": 0}
    try:
        for result in results:
            outcome = "failed" if result.error else "stored" if result.stored else "complete"
            counts[outcome] += 1
            echo(f"{result.image}: {_line(result)}", err=outcome == "failed")
    finally:
        echo(
            f"{counts['stored']} images with new results, {counts['complete']} that had all of them, "
            f"{counts['failed']} without a result."
        )
    if counts["failed"]:
        raise typer.Exit(1)


def _line(result: PacsResult) -> str:
    if result.error is not None:
        return f"failed: {result.error}"
    if not result.stored:
        return "its results are stored already"
    return f"{summary_of(result.predictions)}; {len(result.stored)} objects stored"


def summary_of(predictions: Sequence[Prediction]) -> str:
    """Return class and sizes of an image, or the summary of a clip."""
    from bcdseg.inference.clips import summarize_clip

    if not predictions:
        return "has no image"
    if predictions[0].frame is not None:
        return str(summarize_clip(predictions))
    (one,) = predictions
    label = "no class" if one.label is None else f"{one.label} {one.confidence:.0%}"
    return f"{label}, {', '.join(map(str, one.lesions)) or 'nothing outlined'}"
