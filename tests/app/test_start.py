"""Start of the page: its address, its models, and errors that prevent it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bcdseg
from bcdseg.app.prediction_cache import ModelStore
from bcdseg.app.start import Page
from bcdseg.cli import app


@pytest.mark.parametrize(
    ("host", "private", "url"),
    [("127.0.0.1", True, "http://127.0.0.1:"), ("localhost", True, "http://127.0.0.1:"), ("0.0.0.0", False, "http://127.0.0.1:")],
)
def test_only_the_loopback_is_private(host: str, private: bool, url: str) -> None:
    with socket.create_server(("127.0.0.1" if host == "localhost" else host, 0)) as listener:
        page = Page(ModelStore(), host, listener)
        assert page.is_private is private
        assert page.url.startswith(url)
        assert str(listener.getsockname()[1]) in page.url


def test_errors_at_the_start_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["app", "--no-browser", *arguments])
        assert isinstance(done.exception, bcdseg.errors.BcdsegError)
        return str(done.exception)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "port 0" in refused("--port", str(taken.getsockname()[1]))
    assert "neither a folder nor" in refused("--port", "0", "--model", "nowhere")
    assert "--no-save" in refused("--corrections", "mine", "--no-save")
    assert "is not a folder" in refused("--corrections", __file__)
    assert "reader's name" in refused("--reader", "")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'bcdseg[app]'" in refused()


def test_without_the_extra_the_error_names_it() -> None:
    code = "import sys; sys.modules['starlette'] = None; from bcdseg.cli import main; sys.argv = ['bcdseg', 'app']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "bcdseg: The page needs starlette, which is not installed. Run: pip install 'bcdseg[app]'"


def test_models_of_one_name_can_be_distinguished(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    folders = [str(model.save(tmp_path / place / "mine")) for place in ("first", "second")]
    models = ModelStore(folders)
    assert models.names == ("mine", folders[1], "bus-multi", "busi-lite")
    assert models.get().classes == ("a", "b")


def test_corrections_are_saved_only_where_nobody_else_can_send_them_or_the_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, object] = {}

    def open_page(*_: object, **options: object) -> None:
        opened.update(options)
        raise bcdseg.errors.OutputError("stop")

    monkeypatch.setattr("bcdseg.app.start.open_page", open_page)

    def folder(*arguments: str) -> object:
        CliRunner().invoke(app, ["app", "--no-browser", *arguments])
        return opened["corrections"]

    assert folder() == Path("bcdseg-corrections")
    assert folder("--host", "0.0.0.0") is None
    assert folder("--host", "0.0.0.0", "--corrections", "mine") == Path("mine")
    assert folder("--no-save") is None
