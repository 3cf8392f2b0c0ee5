"""Command ``bcdseg watch``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli.pacs import options as option
from bcdseg.cli.pacs.dicomweb import summary_of
from bcdseg.cli.predict_options import IdentityOption
from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.pacs.watch import ArrivedScan

ARRIVAL = "Arrival"

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to watch, with the folders in it.", show_default=False)]
Url = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="Also store results of DICOM scans in this PACS.", rich_help_panel=option.SERVER),
]
Settle = Annotated[
    float,
    typer.Option(
        "--settle", metavar="SECONDS", help="Time for which a file must not change before it is read.", rich_help_panel=ARRIVAL
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Exit when all files in the folder are done.", rich_help_panel=ARRIVAL)]
Dimse = Annotated[
    int | None,
    typer.Option(
        "--dimse",
        min=0,
        max=65535,
        metavar="PORT",
        help="Also receive scans (C-STORE) at this port, into the folder.",
        rich_help_panel=ARRIVAL,
    ),
]
Host = Annotated[
    str,
    typer.Option(
        "--host", metavar="ADDRESS", help="Address to receive at; others can reach all but the loopback.", rich_help_panel=ARRIVAL
    ),
]
Title = Annotated[
    str, typer.Option("--ae-title", metavar="NAME", help="Application entity title that senders call.", rich_help_panel=ARRIVAL)
]
Senders = Annotated[
    list[str] | None,
    typer.Option(
        "--sender",
        metavar="NAME",
        help="Title of a machine that may send; may be repeated.  [default: all]",
        rich_help_panel=ARRIVAL,
    ),
]


def watch_command(
    folder: Folder,
    out: common.Out,
    settle: Settle = 5.0,
    once: Once = False,
    dimse: Dimse = None,
    host: Host = "127.0.0.1",
    ae_title: Title = "BCDSEG",
    sender: Senders = None,
    frames: option.Frames = 1,
    model: common.ModelName = DEFAULT_MODEL,
    device: common.Device = "auto",
    identity: IdentityOption = None,
    seg: option.Seg = True,
    sr: option.Sr = True,
    threshold: option.Threshold = None,
    operating_point: option.OperatingPoint = None,
    server: Url = None,
    user: option.User = None,
    password_file: option.PasswordFile = None,
    token_file: option.TokenFile = None,
    ca_file: option.CaFile = None,
    timeout: option.Timeout = 60.0,
    attempts: option.Attempts = 3,
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
    from bcdseg.model.registry import load
    from bcdseg.pacs.watch import watch_folder

    if server is None and (user or password_file or token_file or ca_file):
        raise OptionError("--user, --password-file, --token-file and --ca-file are for a server: give --server too.")
    if dimse is None and (sender or host != "127.0.0.1" or ae_title != "BCDSEG"):
        raise OptionError("--host, --ae-title and --sender are for scans that machines send: give --dimse too.")
    pacs = None if server is None else option.open_server(server, user, password_file, token_file, ca_file, timeout, attempts)
    with _receiving(folder, dimse, host, ae_title, sender or []):
        results = watch_folder(
            load(model, device=device),
            folder,
            out,
            identity=identity and identity.value,
            server=pacs,
            kinds=option.kinds_of(seg, sr),
            frames=frames,
            threshold=threshold,
            operating_point=operating_point,
            settle=settle,
            once=once,
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
        echo(f"{scan.file}: {summary_of(scan.predictions)}")
        return False
    echo(f"bcdseg: {scan.error}{' It is tried again.' * scan.will_retry}", err=True)
    return True
