"""Commands ``bcdseg app`` and ``bcdseg serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from bcdseg.bundled import DEFAULT_MODEL
from bcdseg.cli import options as common
from bcdseg.cli.options import in_hardware, in_model, in_output, option_group
from bcdseg.terminal import echo

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CORRECTIONS = "bcdseg-corrections"
in_network, in_limits = option_group("Network"), option_group("Limits")
OPEN = (
    "bcdseg: others on the network can reach this page, unencrypted and without a password. "
    "Use it with scans that name nobody, or listen at 127.0.0.1."
)


Models = Annotated[
    list[str] | None,
    in_model(
        "--model", metavar="NAME", help="A model folder or hf://owner/name to offer besides the bundled ones; may be repeated."
    ),
]
Host = Annotated[str, in_network(metavar="ADDRESS", help="Address to listen at; others can reach all but the loopback.")]
Port = Annotated[int, in_network(min=0, max=65535, metavar="N", help="Port to listen at; 0 takes one that is free.")]
Corrections = Annotated[
    Path | None,
    in_output(
        metavar="FOLDER",
        help="Folder in which corrections are saved with their scans, a data set for bcdseg train.  "
        f"[default: {CORRECTIONS}, created with the first correction; none if others can reach the page]",
        show_default=False,
    ),
]
Save = Annotated[bool, in_output("--save/--no-save", help="Whether corrections are saved at all.")]
Reader = Annotated[
    str | None, in_output(metavar="NAME", help="Name of the reader in the corrections.  [default: this computer's user]")
]
Browser = Annotated[bool, in_output("--browser/--no-browser", help="Whether to open the page in the browser.")]
in_static = option_group("A page without a server")
Static = Annotated[
    Path | None,
    in_static("--static", metavar="FOLDER", help="Write the page with one model to a folder that needs no server, and end."),
]
OnnxRuntimeWeb = Annotated[
    Path | None,
    in_static(
        "--onnxruntime-web",
        metavar="FOLDER",
        help="The folder dist of the npm package onnxruntime-web.  [default: node_modules/onnxruntime-web/dist]",
        show_default=False,
    ),
]
RuntimeName = Annotated[str, in_hardware(metavar="NAME", help="auto (the fastest), openvino, onnxruntime or torch.")]
Queue = Annotated[int, in_limits(min=1, metavar="N", help="Requests that may wait; the next ones get the status 429.")]
MaxMb = Annotated[float, in_limits(metavar="MB", help="Million bytes of an upload.")]
MaxMegapixels = Annotated[float, in_limits(metavar="MP", help="Million pixels of a scan.")]
Timeout = Annotated[float, in_limits(metavar="SECONDS", help="Seconds for an upload to arrive, and as many for its response.")]
ReadTimeout = Annotated[float, in_limits(metavar="SECONDS", help="Seconds of processor time to decode a file.")]
Connections = Annotated[
    int, in_limits(min=1, metavar="N", help="Simultaneous connections; the one that was idle for longest is closed for a new one.")
]
Grace = Annotated[float, in_limits(metavar="SECONDS", help="Seconds to finish requests after a signal to end.")]
AllowedHosts = Annotated[
    list[str] | None,
    in_network(
        "--allow-host", metavar="NAME", help="A name that clients may use for this server; may be repeated. * allows any name."
    ),
]


def app_command(
    model: Models = None,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    corrections: Corrections = None,
    save: Save = True,
    reader: Reader = None,
    browser: Browser = True,
    static: Static = None,
    onnxruntime_web: OnnxRuntimeWeb = None,
    overwrite: common.Overwrite = False,
    device: common.Device = "auto",
) -> None:
    """Open a page in the browser: drop scans, see outlines and sizes, correct them.

    Runs on this machine alone and sends nothing anywhere. Scans are in memory while the page is open; a scan that is corrected or
    judged is saved with its correction.

    Examples:
        bcdseg app
        bcdseg app --model my-model --no-browser
        bcdseg app --corrections to-learn --reader "A. Lee"
        bcdseg train to-learn --model bus-multi
        bcdseg app --static page
    """
    from bcdseg.app.start import open_page
    from bcdseg.errors import OptionError

    if static is not None:
        if corrections is not None:
            raise OptionError("--static writes a page that saves nothing: leave --corrections out.")
        _write_static_page(static, model or [DEFAULT_MODEL], onnxruntime_web, overwrite=overwrite)
        return
    if corrections is not None and not save:
        raise OptionError("--corrections and --no-save contradict each other: give one of them.")
    folder = corrections or (Path(CORRECTIONS) if save and host in LOOPBACK else None)
    page = open_page(model or (), host=host, port=port, device=device, corrections=folder, reader=reader)
    echo(f"The page is at {page.url}  (Ctrl-C ends it)")
    echo(f"Corrections are saved in {page.corrections.folder}" if page.corrections else "Corrections are not saved")
    if not page.is_private:
        echo(OPEN, err=True)
    page.serve(browser=browser)


def _write_static_page(folder: Path, models: list[str], onnxruntime_web: Path | None, *, overwrite: bool) -> None:
    from bcdseg.app.static_page import DIST, write_static_page
    from bcdseg.errors import OptionError
    from bcdseg.model.registry import load

    if len(models) > 1:
        raise OptionError(f"--static writes a page with one model, not {len(models)}: give --model once.")
    page = write_static_page(load(models[0]), folder, onnxruntime_web=onnxruntime_web or DIST, overwrite=overwrite)
    echo(str(page))


def serve_command(
    model: common.ModelName = DEFAULT_MODEL,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    allow_host: AllowedHosts = None,
    queue: Queue = 64,
    max_mb: MaxMb = 32,
    max_megapixels: MaxMegapixels = 25,
    timeout: Timeout = 30,
    read_timeout: ReadTimeout = 10,
    connections: Connections = 256,
    grace: Grace = 7,
    device: common.Device = "auto",
    runtime: RuntimeName = "auto",
) -> None:
    """Serve predictions over HTTP: PNG, JPEG or DICOM in; JSON, PNG mask or DICOM-SEG out. Nothing that is sent is kept.

    There is no password and no encryption: beyond this machine, put it behind a proxy that has both.

    Examples:
        bcdseg serve
        curl -F file=@scan.png http://127.0.0.1:8000/predict
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
