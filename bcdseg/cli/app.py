"""``bcdseg app``."""

from __future__ import annotations

from typing import Annotated

import typer

from bcdseg.terminal import echo

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
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open the page in the browser.")] = True,
) -> None:
    """Open a page in the browser: drop scans, see outlines and sizes.

    Runs on this machine alone and sends nothing anywhere. Scans are held in memory while the page is open.

    Examples:  bcdseg app  |  bcdseg app --model my-model --no-browser
    """
    from bcdseg.app.start import open_page

    page = open_page(model or (), host=host, port=port, device=device)
    echo(f"The page is at {page.url}  (Ctrl-C ends it)")
    if not page.is_private:
        echo(OPEN, err=True)
    page.serve(browser=browser)
