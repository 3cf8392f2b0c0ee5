"""Commands ``bcdseg app`` and ``bcdseg serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.terminal import echo

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CORRECTIONS = "bcdseg-corrections"
OPEN = (
    "bcdseg: others on the network can reach this page, unencrypted and without a password. "
    "Use it with scans that name nobody, or listen at 127.0.0.1."
)


def app_command(
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model folder or hf://owner/name to offer besides the bundled ones; may be repeated."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen. Anything but the loopback lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes any that is free.")] = 8765,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder in which corrections are saved with their scans, a data set for bcdseg train.  "
            f"[default: {CORRECTIONS}, created with the first correction; none if others can reach the page]",
            show_default=False,
        ),
    ] = None,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Whether corrections are saved at all.")] = True,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the reader in the corrections.  [default: this computer's user]")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open the page in the browser.")] = True,
) -> None:
    """Open a page in the browser: drop scans, see outlines and sizes, correct them.

    Runs on this machine alone and sends nothing anywhere. Scans are in memory while the page is open; a scan that is corrected or
    judged is saved with its correction.

    Examples:  bcdseg app  |  bcdseg app --model my-model --no-browser  |  bcdseg app --corrections to-learn --reader "A. Lee"  |
    bcdseg train to-learn --model bus-multi
    """
    from bcdseg.app.start import open_page
    from bcdseg.errors import OptionError

    if corrections is not None and not save:
        raise OptionError("--corrections and --no-save contradict each other: give one of them.")
    folder = corrections or (Path(CORRECTIONS) if save and host in LOOPBACK else None)
    page = open_page(model or (), host=host, port=port, device=device, corrections=folder, reader=reader)
    echo(f"The page is at {page.url}  (Ctrl-C ends it)")
    echo(f"Corrections are saved in {page.corrections.folder}" if page.corrections else "Corrections are not saved")
    if not page.is_private:
        echo(OPEN, err=True)
    page.serve(browser=browser)


def serve_command(
    model: Annotated[str, typer.Option(help="A bundled model, a model folder, or hf://owner/name.")] = DEFAULT_MODEL,
    host: Annotated[str, typer.Option(help="Address to listen at; by default only this machine can reach it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    queue: Annotated[int, typer.Option(min=1, help="Requests held at once; more are answered with 429.")] = 64,
    max_mb: Annotated[float, typer.Option(help="Million bytes of an upload.")] = 32,
    max_megapixels: Annotated[float, typer.Option(help="Million pixels of a scan.")] = 25,
    timeout: Annotated[float, typer.Option(help="Seconds for an upload to arrive, and as many for its answer.")] = 30,
    read_timeout: Annotated[float, typer.Option(help="Seconds for a file to be decoded.")] = 10,
    connections: Annotated[int, typer.Option(min=1, help="Connections at once; the longest idle gives way to a new one.")] = 256,
    grace: Annotated[float, typer.Option(help="Seconds to finish requests when the server is asked to end.")] = 7,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that clients may use for this server; may be repeated. * allows any name."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    runtime: Annotated[str, typer.Option(help="auto (the fastest), openvino, onnxruntime or torch.")] = "auto",
) -> None:
    """Answer scans over HTTP: PNG, JPEG or DICOM in; JSON, PNG mask or DICOM-SEG out. Nothing that is sent is kept.

    There is no password and no encryption: beyond this machine, put it behind a proxy that has both.

    Examples:  bcdseg serve  |  curl -F file=@scan.png http://127.0.0.1:8000/predict
    """
    from bcdseg.model.registry import load
    from bcdseg.serve.limits import Limits
    from bcdseg.serve.server import Running, run_process

    limits = Limits(
        queue=queue,
        max_mb=max_mb,
        max_megapixels=max_megapixels,
        timeout=timeout,
        read_timeout=read_timeout,
        connections=connections,
        grace=grace,
    )
    loaded = load(model, device=device, runtime=runtime)
    running = Running(loaded, host=host, port=port, limits=limits, allowed_hosts=allow_host or ())
    shown = f"[{host}]" if ":" in host else host
    echo(f"{loaded.name} at http://{shown}:{running.port} (for research; not a medical device). Ctrl-C ends it.")
    if host not in LOOPBACK:
        echo(
            "bcdseg: anyone who reaches this address can use it, unencrypted: put a proxy with passwords and encryption before it.",
            err=True,
        )
    run_process(running)
