from __future__ import annotations

import hashlib
import io
import sys
import threading
import types
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made import busi, packed, zipped

from bcdseg.data import fetch
from bcdseg.data.fetch import fetch_busi
from bcdseg.data.opening import open_dataset
from bcdseg.errors import DatasetError, DataUnavailableError, MissingExtraError, OptionError


class Server(ThreadingHTTPServer):
    """Answers every request with ``content``, and counts them."""

    content = b""
    declared: int | None = None
    asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/Dataset_BUSI.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.declared or len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        served.content = zipped(busi(tmp_path / "made/Dataset_BUSI_with_GT"))
        monkeypatch.setenv("BCDSEG_BUSI_URL", served.url)
        monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache/busi").iterdir())


def test_busi_is_fetched_once_with_its_licence_shown(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    folder = fetch_busi("cairo", say=said.append)
    assert len(open_dataset(folder)) == 8
    assert "CC BY 4.0" in said[0]
    assert hashlib.sha256(server.content).hexdigest() in said[-1]
    assert left(tmp_path) == ["cairo", "cairo.json"]
    assert fetch_busi("cairo") == folder
    assert server.asked == 1


@pytest.mark.usefixtures("server")
def test_a_cache_of_ones_own(tmp_path: Path) -> None:
    assert fetch_busi("cairo", cache=tmp_path / "mine").is_relative_to(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()


def test_a_known_checksum_is_held_to(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not 00ff"):
        fetch_busi("cairo", sha256="00ff")
    assert left(tmp_path) == []
    fetch_busi("cairo", sha256=hashlib.sha256(server.content).hexdigest().upper())


def test_an_archive_that_changed_since_is_refused(server: Server, tmp_path: Path) -> None:
    folder = fetch_busi("cairo")
    folder.rename(tmp_path / "away")
    server.content = zipped(busi(tmp_path / "other/Dataset_BUSI_with_GT", (1, 1, 1)))
    with pytest.raises(DatasetError, match="archive is not as it was when it was fetched first"):
        fetch_busi("cairo")
    assert not folder.exists()


@pytest.mark.usefixtures("server")
def test_a_folder_that_was_changed_here_is_noticed() -> None:
    folder = fetch_busi("cairo")
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="folder is not as it was"):
        fetch_busi("cairo")


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(("127.0.0.1", 0), Handler) as closed:
        url = closed.url
    monkeypatch.setenv("BCDSEG_BUSI_URL", url)
    place = tmp_path / "cache/busi/Dataset_BUSI.zip"
    with pytest.raises(DataUnavailableError) as caught:
        fetch_busi("cairo", cache=tmp_path / "cache")
    for part in (url, str(place), "in a browser"):
        assert part in str(caught.value)
    place.write_bytes(zipped(busi(tmp_path / "made/Dataset_BUSI_with_GT")))
    assert len(open_dataset(fetch_busi("cairo", cache=tmp_path / "cache"))) == 8
    assert place.exists()


def test_a_download_that_breaks_off_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.declared = len(server.content)
    server.content = server.content[:-100]
    with pytest.raises(DataUnavailableError, match="broke off"):
        fetch_busi("cairo")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>Please log in</html>", "no zip archive"),
        (packed({"../outside.png": b"x"}), "leads out of its folder"),
        (packed({"/etc/outside.png": b"x"}), "leads out of its folder"),
        (packed({"a\\..\\..\\outside.png": b"x"}), "leads out of its folder"),
        (packed({"C:/outside.png": b"x"}), "leads out of its folder"),
        (packed({"readme.txt": b"moved to another place"}), "no sample"),
    ],
)
def test_what_is_no_busi_archive_leaves_nothing(server: Server, tmp_path: Path, content: bytes, said: str) -> None:
    server.content = content
    with pytest.raises(DatasetError, match=said):
        fetch_busi("cairo")
    assert left(tmp_path) == []
    assert not list(tmp_path.rglob("outside.png"))


def test_a_link_in_an_archive_is_refused(server: Server) -> None:
    held = io.BytesIO()
    link = zipfile.ZipInfo("benign/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(held, "w") as file:
        file.writestr(link, "/etc/hosts")
    server.content = held.getvalue()
    with pytest.raises(DatasetError, match="leads out of its folder"):
        fetch_busi("cairo")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("limit", ["MOST_DOWNLOADED", "MOST_UNPACKED", "MOST_FILES"])
def test_what_is_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(fetch, limit, 3)
    with pytest.raises(DatasetError, match="more than"):
        fetch_busi("cairo")
    assert left(tmp_path) == []


def test_a_mirror_must_be_a_web_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_BUSI_URL", "file:///etc/hosts")
    with pytest.raises(OptionError, match="no web address"):
        fetch_busi("cairo", cache=tmp_path)


def test_kaggle_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError, match=r"bcdseg\[kaggle\].*source='cairo'"):
        fetch_busi(cache=tmp_path)


def test_what_kagglehub_fetched_is_compared_with_the_first_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = busi(tmp_path / "kagglehub/Dataset_BUSI_with_GT").parent
    hub = types.ModuleType("kagglehub")
    hub.dataset_download = lambda _: str(folder)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    assert fetch_busi(cache=tmp_path) == fetch_busi(cache=tmp_path) == folder
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="not as it was"):
        fetch_busi(cache=tmp_path)


def test_kaggle_out_of_reach_says_what_to_do_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> str:
        raise OSError("no network")

    hub = types.ModuleType("kagglehub")
    hub.dataset_download = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    with pytest.raises(DataUnavailableError, match=r"no network.*kaggle\.com.*Dataset_BUSI\.zip"):
        fetch_busi(cache=tmp_path)


def test_choices_are_checked() -> None:
    with pytest.raises(OptionError, match="'kaggle', 'cairo'"):
        fetch_busi("zenodo")
    with pytest.raises(OptionError, match="sha256"):
        fetch_busi(sha256="00")
