"""Options of the commands for a PACS, with their help."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcdseg.cli.options import DATA
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.pacs.server import DicomWebServer

PASSWORD, TOKEN = "BCDSEG_PACS_PASSWORD", "BCDSEG_PACS_TOKEN"
OPEN = "bcdseg: the connection to this server is not encrypted: others on the network can read patients' data and the password."

SERVER, RESULTS = "Server", "Results"

Url = Annotated[
    str,
    typer.Option("--server", metavar="URL", help="DICOMweb service: https://pacs.example.org/dicom-web.", rich_help_panel=SERVER),
]
User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="User of the server.", rich_help_panel=SERVER)]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help=f"Password in a file; else from {PASSWORD}, or asked for.", rich_help_panel=SERVER
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help=f"Bearer token in a file, in place of a user; else from {TOKEN}.",
        rich_help_panel=SERVER,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        metavar="FILE",
        help="Certificate authorities to trust (PEM), in place of the system's.",
        rich_help_panel=SERVER,
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="Time to wait for an answer of the server.", rich_help_panel=SERVER)
]
Attempts = Annotated[
    int,
    typer.Option("--attempts", min=1, metavar="N", help="Times a request is sent if the connection fails.", rich_help_panel=SERVER),
]
Studies = Annotated[
    list[str] | None, typer.Option("--study", metavar="UID", help="Study Instance UID; may be repeated.", rich_help_panel=DATA)
]
Query = Annotated[
    list[str] | None,
    typer.Option(
        "--query",
        metavar="KEYWORD=VALUE",
        help="Search for studies: PatientID=4711; may be repeated, all must match.",
        rich_help_panel=DATA,
    ),
]
Frames = Annotated[int, typer.Option("--frames", min=1, metavar="N", help="Of clips, each n-th frame.", rich_help_panel=DATA)]
Seg = Annotated[bool, typer.Option("--seg/--no-seg", help="Store outlines (DICOM SEG).", rich_help_panel=RESULTS)]
Sr = Annotated[bool, typer.Option("--sr/--no-sr", help="Store measurements (DICOM SR).", rich_help_panel=RESULTS)]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="P", help="Mask probability from which a pixel is outlined.", rich_help_panel=RESULTS),
]
OperatingPoint = Annotated[
    str | None,
    typer.Option("--operating-point", metavar="NAME", help="Choose the class at this stored point.", rich_help_panel=RESULTS),
]


def kinds_of(seg: bool, sr: bool) -> list[str]:
    """Return the kinds of DICOM objects that the options choose."""
    from bcdseg.errors import OptionError

    kinds = [kind for kind, wanted in (("seg", seg), ("sr", sr)) if wanted]
    if not kinds:
        raise OptionError("--no-seg and --no-sr leave nothing to store: give one of them.")
    return kinds


def open_server(
    url: str,
    user: str | None,
    password_file: Path | None,
    token_file: Path | None,
    ca_file: Path | None,
    timeout: float,
    attempts: int,
) -> DicomWebServer:
    """Return the server that the options describe; secrets come from files, the environment or the terminal, never from options."""
    from bcdseg.errors import OptionError
    from bcdseg.pacs.server import DicomWebServer

    if password_file is not None and user is None:
        raise OptionError("--password-file is for a user: give --user too.")
    token = _secret(token_file) if token_file else None if user else os.environ.get(TOKEN)
    password = _password(password_file) if user is not None else None
    server = DicomWebServer(url, user, password, token, ca_file, timeout, attempts)
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
