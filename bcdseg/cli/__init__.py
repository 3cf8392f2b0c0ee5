"""Command line, which only parses and prints. Slow imports are deferred until a command runs."""

from __future__ import annotations

import gc
import io
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bcdseg import __version__
from bcdseg.cli.compare import benchmark_command, recipes_command
from bcdseg.cli.data import audit_command, fetch_command, split_command
from bcdseg.cli.evaluate import evaluate_command
from bcdseg.cli.models import export_command, info_command, models_command
from bcdseg.cli.options import Command
from bcdseg.cli.pacs import dicomweb_command, watch_command
from bcdseg.cli.predict import join_command, predict_command
from bcdseg.cli.servers import app_command, serve_command
from bcdseg.cli.site import fit_site_command
from bcdseg.cli.train import train_command
from bcdseg.errors import BcdsegError
from bcdseg.terminal import echo, show_warning

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "predict": predict_command,
    "join": join_command,
    "info": info_command,
    "models": models_command,
    "export": export_command,
    "audit": audit_command,
    "split": split_command,
    "recipes": recipes_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "fit-site": fit_site_command,
    "benchmark": benchmark_command,
    "serve": serve_command,
    "app": app_command,
    "dicomweb": dicomweb_command,
    "watch": watch_command,
}
for name, command in COMMANDS.items():
    app.command(name, cls=Command)(command)
data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Get public data sets.")
data.command("fetch", cls=Command)(fetch_command)
data.callback()(lambda: None)  # keeps `fetch` a subcommand of its own
app.add_typer(data, name="data")


def _version(requested: bool) -> None:
    if requested:
        echo(f"bcdseg {__version__}")
        raise typer.Exit


@app.callback(epilog="\b\nExamples:\n  bcdseg predict scan.png\n  bcdseg predict scans/ -o results\n  bcdseg info")
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segment and classify breast-ultrasound scans.

    For research. Not a medical device: not for diagnosis.
    """


def main() -> None:
    """Run the command line; errors of the library become one line and exit status 2."""
    warnings.showwarning = show_warning
    gc.set_threshold(10_000)  # by default the objects of all modules are visited again and again while these are imported
    try:
        status = app(standalone_mode=False)
    except BcdsegError as error:
        echo(f"bcdseg: {error}", err=True)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except Exception as error:
        if not hasattr(error, "show"):
            raise
        sys.exit(_show_usage(error))
    sys.exit(status or 0)


def _show_usage(error: Any) -> int:
    """Print a typer error, whose class differs between typer's versions, and return its exit status."""
    shown = io.StringIO()
    error.show(file=shown)
    echo(shown.getvalue(), err=True, newline=False)
    return int(error.exit_code)
