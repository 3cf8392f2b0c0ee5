"""Commands for a PACS: ``bcdseg dicomweb`` and ``bcdseg watch``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli.options import in_data, in_results, option_group, with_options
from bcdseg.cli.predict import IdentityOption
from bcdseg.messages import percent
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.inference.prediction import Prediction
    from bcdseg.model.model import Model
    from bcdseg.pacs.dicomweb import PacsResult
    from bcdseg.pacs.server import DicomWebServer
    from bcdseg.pacs.watch import ArrivedScan

PASSWORD, TOKEN = "BCDSEG_PACS_PASSWORD", "BCDSEG_PACS_TOKEN"
OPEN = "bcdseg: the connection to this server is not encrypted: others on the network can read patients' data and the password."

in_server = option_group("Server")

Url = Annotated[str, in_server("--server", metavar="URL", help="DICOMweb service: https://pacs.example.org/dicom-web.")]
User = Annotated[str | None, in_server("--user", metavar="NAME", help="User of the server.")]
PasswordFile = Annotated[
    Path | None, in_server("--password-file", metavar="FILE", help=f"Password in a file; else from {PASSWORD}, or from a prompt.")
]
TokenFile = Annotated[
    Path | None, in_server("--token-file", metavar="FILE", help=f"Bearer token in a file, in place of a user; else from {TOKEN}.")
]
CaFile = Annotated[
    Path | None, in_server("--ca-file", metavar="FILE", help="Certificate authorities to trust (PEM), in place of the system's.")
]
Timeout = Annotated[float, in_server("--timeout", metavar="SECONDS", help="Time to wait for a response of the server.")]
Attempts = Annotated[int, in_server("--attempts", min=1, metavar="N", help="Times a request is sent if the connection fails.")]
Studies = Annotated[list[str] | None, in_data("--study", metavar="UID", help="Study Instance UID; may be repeated.")]
Query = Annotated[
    list[str] | None,
    in_data("--query", metavar="KEYWORD=VALUE", help="Search for studies: PatientID=4711; may be repeated, all must match."),
]
Seg = Annotated[bool, in_results("--seg/--no-seg", help="Store outlines (DICOM SEG).")]
Sr = Annotated[bool, in_results("--sr/--no-sr", help="Store measurements (DICOM SR).")]
Root = Annotated[bool, in_results("--root/--no-root", help="Store a report that lists all results of a study (DICOM SR).")]


@dataclass(frozen=True)
class PredictionOptions:
    """Options of what is predicted and stored."""

    frames: common.Frames = 1
    model: common.ModelName = DEFAULT_MODEL
    device: common.Device = "auto"
    seg: Seg = True
    sr: Sr = True
    threshold: common.Threshold = None
    operating_point: common.OperatingPoint = None

    def load_model(self) -> Model:
        """Load the model on the device."""
        from bcdseg.model.registry import load

        return load(self.model, device=self.device)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a prediction, with the kinds of DICOM objects to store."""
        from bcdseg.errors import OptionError

        kinds = [kind for kind, wanted in (("seg", self.seg), ("sr", self.sr)) if wanted]
        if not kinds:
            raise OptionError("--no-seg and --no-sr leave nothing to store: give one of them.")
        return {"kinds": kinds, "frames": self.frames, "threshold": self.threshold, "operating_point": self.operating_point}


@dataclass(frozen=True)
class ConnectionOptions:
    """Options of the connection to a server."""

    user: User = None
    password_file: PasswordFile = None
    token_file: TokenFile = None
    ca_file: CaFile = None
    timeout: Timeout = 60.0
    attempts: Attempts = 3

    def open(self, url: str) -> DicomWebServer:
        """Return the server at a URL; secrets come from files, the environment or the terminal, never from options."""
        from bcdseg.errors import OptionError
        from bcdseg.pacs.server import DicomWebServer

        if self.password_file is not None and self.user is None:
            raise OptionError("--password-file is for a user: give --user too.")
        token = _secret(self.token_file) if self.token_file else None if self.user else os.environ.get(TOKEN)
        password = _password(self.password_file) if self.user is not None else None
        server = DicomWebServer(url, self.user, password, token, self.ca_file, self.timeout, self.attempts)
        if not server.is_private:
            echo(OPEN, err=True)
        return server


def _password(file: Path | None) -> str:
    from bcdseg.errors import OptionError

    if file is not None:
        return _secret(file)
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        raise OptionError(f"--user needs a password: set {PASSWORD}, or give --password-file FILE.")
    return str(typer.prompt("Password", hide_input=True))


def _secret(file: Path) -> str:
    from bcdseg.errors import OptionError

    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{file}: can't be read ({type(error).__name__}). Give a text file that contains the secret alone."
        ) from error


@with_options
def dicomweb_command(
    server: Url,
    study: Studies = None,
    query: Query = None,
    root: Root = True,
    prediction: PredictionOptions = PredictionOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
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
    from bcdseg.pacs.dicomweb import predict_dicomweb

    if not study and not query:
        raise OptionError("Name the studies: --study UID, or --query KEYWORD=VALUE.")
    chosen, pacs = prediction.arguments(), connection.open(server)
    chosen["kinds"] += ["root"] * root
    searched = _query(query) if query else None
    _print_results(predict_dicomweb(prediction.load_model(), pacs, study=study or None, query=searched, **chosen))


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
            if result.root:
                echo(f"study {result.study}: a report that lists all results is stored")
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
    label = "no class" if one.confidence is None else f"{one.label} {percent(one.confidence)}"
    return f"{label}, {', '.join(map(str, one.lesions)) or 'nothing outlined'}"


in_arrival = option_group("Arrival")

WatchRoot = Annotated[
    bool,
    in_results("--root/--no-root", help="After each scan, store a report that lists all results of its study; needs --server."),
]

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to watch, with the folders in it.", show_default=False)]
StoreUrl = Annotated[str | None, in_server("--server", metavar="URL", help="Also store results of DICOM scans in this PACS.")]
Settle = Annotated[
    float, in_arrival("--settle", metavar="SECONDS", help="Time for which a file must not change before it is read.")
]
Once = Annotated[bool, in_arrival("--once", help="Exit when all files in the folder are done.")]
Dimse = Annotated[
    int | None,
    in_arrival("--dimse", min=0, max=65535, metavar="PORT", help="Also receive scans (C-STORE) at this port, into the folder."),
]
Host = Annotated[str, in_arrival("--host", metavar="ADDRESS", help="Address to receive at; others can reach all but the loopback.")]
Title = Annotated[str, in_arrival("--ae-title", metavar="NAME", help="Application entity title that senders call.")]
Senders = Annotated[
    list[str] | None,
    in_arrival("--sender", metavar="NAME", help="Title of a machine that may send; may be repeated.  [default: all]"),
]


@with_options
def watch_command(
    folder: Folder,
    out: common.Out,
    settle: Settle = 5.0,
    once: Once = False,
    dimse: Dimse = None,
    host: Host = "127.0.0.1",
    ae_title: Title = "BCDSEG",
    sender: Senders = None,
    root: WatchRoot = False,
    prediction: PredictionOptions = PredictionOptions(),
    identity: IdentityOption = None,
    server: StoreUrl = None,
    connection: ConnectionOptions = ConnectionOptions(),
) -> None:
    """Predict the scans in a folder, and those that arrive in it.

    A file is read when it is complete, and predicted once, also after a restart. Results are written to another folder: pictures
    and JSON, and for DICOM a segmentation and a report. With --server they are stored in the PACS too, with the scan.

    Exit status: 2 wrong usage; with --once 0 all good, 1 some scans have no result.

    Examples:
      bcdseg watch incoming --out results --identity pacs
      bcdseg watch incoming --out results --dimse 11112 --host 0.0.0.0 --sender SCANNER1
      bcdseg watch incoming --out results --server https://pacs.example.org/dicom-web --user reader
    """
    from bcdseg.errors import OptionError
    from bcdseg.pacs.watch import watch_folder

    if server is None and (connection.user or connection.password_file or connection.token_file or connection.ca_file):
        raise OptionError("--user, --password-file, --token-file and --ca-file are for a server: give --server too.")
    if server is None and root:
        raise OptionError("--root stores a report in a PACS: give --server too. As a file, bcdseg predict --dicom-root writes it.")
    if dimse is None and (sender or host != "127.0.0.1" or ae_title != "BCDSEG"):
        raise OptionError("--host, --ae-title and --sender are for scans that machines send: give --dimse too.")
    chosen = prediction.arguments()
    chosen["kinds"] += ["root"] * root
    pacs = None if server is None else connection.open(server)
    with _receiving(folder, dimse, host, ae_title, sender or []):
        results = watch_folder(
            prediction.load_model(),
            folder,
            out,
            identity=identity and identity.value,
            server=pacs,
            settle=settle,
            once=once,
            **chosen,
        )
        echo(f"Watching {folder}; results are written to {out}  (Ctrl-C ends it)")
        try:
            failed = sum([_print(scan) for scan in results])
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    if failed:
        raise typer.Exit(1)


def _receiving(folder: Path, port: int | None, host: str, title: str, senders: list[str]) -> AbstractContextManager[Any]:
    from bcdseg.pacs.dimse import received_scans

    if port is None:
        return nullcontext()
    echo(f"bcdseg: scans are received as {title} at {host}:{port}, unencrypted: anyone who reaches this port can send.", err=True)
    return received_scans(folder, title=title, host=host, port=port, senders=senders)


def _print(scan: ArrivedScan) -> bool:
    """Print a line about a file; return whether it has no result."""
    if scan.error is None:
        listed = "; a report that lists all results of its study is stored" if scan.root else ""
        echo(f"{scan.file}: {summary_of(scan.predictions)}{listed}")
        return False
    named = "" if str(scan.file) in str(scan.error) else f"{scan.file}: "  # an error of the server doesn't name it
    written = " Its results are in the folder." * bool(scan.written)
    echo(f"bcdseg: {named}{scan.error}{written}{' It is tried again.' * scan.will_retry}", err=True)
    return True
