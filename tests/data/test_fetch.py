from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import threading
import types
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import busi, packed, save, scan, zipped

from bcdseg.data.opening import open_dataset
from bcdseg.data.public_sets import download
from bcdseg.data.public_sets.catalogue import PUBLIC_SETS
from bcdseg.data.public_sets.fetch import fetch_busi, fetch_dataset
from bcdseg.errors import DatasetError, DataUnavailableError, MissingExtraError, OptionError, OutputError
from bcdseg.partial import lock_until_closed


class Server(ThreadingHTTPServer):
    """Server of ``content`` and ranges of it that lists the first byte of each request.

    ``tag`` names the version of the content. Each number in ``cuts`` ends the connection of one request after so many bytes.
    """

    content = b""
    declared: int | None = None
    tag: str | None = '"1"'
    ranges = True
    status = 200

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.cuts: list[int] = []
        self.starts: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/Dataset_BUSI.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        whole = wanted is None or not server.ranges or self.headers.get("If-Range") != server.tag
        start = 0 if whole or wanted is None else int(wanted[1])
        server.starts.append(start)
        self.send_response(server.status if whole else 206)
        self.send_header("Content-Length", str(server.declared or len(server.content) - start))
        if server.tag:
            self.send_header("ETag", server.tag)
        if not whole:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else len(server.content)
        self.wfile.write(server.content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        served.content = zipped(busi(tmp_path / "made/Dataset_BUSI_with_GT"))
        monkeypatch.setenv("BCDSEG_BUSI_URL", served.url)
        monkeypatch.setenv("BCDSEG_DATA_MIRROR", served.url.rpartition("/")[0])
        monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache/busi").iterdir())


def test_busi_is_fetched_once_with_its_licence_shown(server: Server, tmp_path: Path) -> None:
    lines: list[str] = []
    folder = fetch_busi("cairo", log=lines.append)
    assert len(open_dataset(folder)) == 8
    assert "CC BY 4.0" in lines[0]
    assert hashlib.sha256(server.content).hexdigest() in lines[-1]
    assert left(tmp_path) == ["cairo", "cairo.json"]
    assert fetch_busi("cairo") == folder
    assert server.starts == [0]


@pytest.mark.usefixtures("server")
def test_a_cache_of_ones_own(tmp_path: Path) -> None:
    assert fetch_busi("cairo", cache=tmp_path / "mine").is_relative_to(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()


def test_a_known_checksum_is_required(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not 00ff"):
        fetch_busi("cairo", sha256="00ff")
    assert left(tmp_path) == []
    fetch_busi("cairo", sha256=hashlib.sha256(server.content).hexdigest().upper())


def test_an_archive_that_changed_since_is_refused(server: Server, tmp_path: Path) -> None:
    folder = fetch_busi("cairo")
    folder.rename(tmp_path / "away")
    server.content = zipped(busi(tmp_path / "other/Dataset_BUSI_with_GT", (1, 1, 1)))
    with pytest.raises(DatasetError, match="archive has changed since it was fetched first"):
        fetch_busi("cairo")
    assert not folder.exists()


@pytest.mark.usefixtures("server")
def test_a_folder_that_was_changed_here_is_noticed() -> None:
    folder = fetch_busi("cairo")
    next(folder.rglob("*.png")).unlink()
    with pytest.raises(DatasetError, match="folder has changed"):
        fetch_busi("cairo")


def test_offline_the_error_names_the_file_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(("127.0.0.1", 0), Handler) as closed:
        url = closed.url
    monkeypatch.setenv("BCDSEG_BUSI_URL", url)
    place = tmp_path / "cache/busi/Dataset_BUSI.zip"
    with pytest.raises(DataUnavailableError) as caught:
        fetch_busi("cairo", cache=tmp_path / "cache")
    for part in (url, str(place), "in a browser"):
        assert part in str(caught.value)
    assert left(tmp_path) == []
    place.write_bytes(zipped(busi(tmp_path / "made/Dataset_BUSI_with_GT")))
    assert len(open_dataset(fetch_busi("cairo", cache=tmp_path / "cache"))) == 8
    assert place.exists()


def test_a_connection_that_is_cut_is_resumed_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000, 500]
    lines: list[str] = []
    assert len(open_dataset(fetch_dataset("busi", accept_licence=True, log=lines.append))) == 8
    assert server.starts == [0, 1000, 1500]
    assert [line.partition(" ")[0] for line in lines[1:4]] == ["Fetching", "Resuming", "Resuming"]
    assert left(tmp_path) == ["cairo", "cairo.json"]


def test_a_download_that_broke_off_is_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000, 0]
    with pytest.raises(DataUnavailableError, match=r"broke off after 1,000 of [\d,]+ bytes; 1,000 bytes are kept") as caught:
        fetch_busi("cairo")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert left(tmp_path) == ["Dataset_BUSI.zip.part", "Dataset_BUSI.zip.part.json"]
    fetch_busi("cairo")
    assert server.starts == [0, 1000, 1000]
    assert left(tmp_path) == ["cairo", "cairo.json"]


def test_a_download_starts_again_where_the_file_has_changed_or_ranges_are_not_supported(server: Server, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"tag": '"2"'}, {"ranges": False}, {"tag": None}]
    for number, change in enumerate(changes):
        server.cuts, server.starts = [1000, 0], []
        with pytest.raises(DataUnavailableError, match="broke off"):
            fetch_busi("cairo", cache=tmp_path / str(number))
        for name, value in change.items():
            setattr(server, name, value)
        assert len(open_dataset(fetch_busi("cairo", cache=tmp_path / str(number)))) == 8
        assert server.starts[-1] == 0


def test_a_finished_download_is_not_fetched_again_after_a_kill(server: Server, tmp_path: Path) -> None:
    home = tmp_path / "cache/busi"
    home.mkdir(parents=True)
    (home / "Dataset_BUSI.zip.part").write_bytes(server.content)
    record = {"url": server.url, "version": server.tag, "size": len(server.content)}
    (home / "Dataset_BUSI.zip.part.json").write_text(json.dumps(record))
    assert len(open_dataset(fetch_busi("cairo"))) == 8
    assert server.starts == []


def test_two_processes_do_not_write_one_download(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cache/busi/Dataset_BUSI.zip.part"
    part.parent.mkdir(parents=True)
    with part.open("ab") as file:
        assert lock_until_closed(file.fileno())
        with pytest.raises(OutputError, match="another process downloads this file"):
            fetch_busi("cairo")
    assert server.starts == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.usefixtures("server")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    part = tmp_path / "cache/busi/Dataset_BUSI.zip.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"No space left on device\)\. Free space on this disk"):
        fetch_busi("cairo")


def test_a_file_that_does_not_fit_on_the_disk_is_refused_before(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MOST_DOWNLOADED", 10**18)
    server.declared = 10**17
    with pytest.raises(OutputError, match=r"needs 100,000,000,000,000,000 more bytes, and [\d,]+ are free"):
        fetch_busi("cairo")


def test_an_error_of_the_server_is_named_with_what_to_do(server: Server) -> None:
    server.status = 503
    with pytest.raises(DataUnavailableError, match=r"HTTP Error 503.*Download BUSBRA\.zip in a browser from http.*zenodo\.org"):
        fetch_dataset("bus-bra", accept_licence=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Please log in</html>", "not a zip archive"),
        (packed({"../outside.png": b"x"}), "leads out of its folder"),
        (packed({"/etc/outside.png": b"x"}), "leads out of its folder"),
        (packed({"a\\..\\..\\outside.png": b"x"}), "leads out of its folder"),
        (packed({"C:/outside.png": b"x"}), "leads out of its folder"),
        (packed({"readme.txt": b"moved to another place"}), "no sample"),
    ],
)
def test_other_archives_than_busi_leave_nothing(server: Server, tmp_path: Path, content: bytes, message: str) -> None:
    server.content = content
    with pytest.raises(DatasetError, match=message):
        fetch_busi("cairo")
    assert left(tmp_path) == []
    assert not list(tmp_path.rglob("outside.png"))


def test_a_link_in_an_archive_is_refused(server: Server) -> None:
    buffer = io.BytesIO()
    link = zipfile.ZipInfo("benign/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(link, "/etc/hosts")
    server.content = buffer.getvalue()
    with pytest.raises(DatasetError, match="leads out of its folder"):
        fetch_busi("cairo")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("limit", ["MOST_DOWNLOADED", "MOST_UNPACKED", "MOST_FILES"])
def test_what_is_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(download, limit, 3)
    with pytest.raises(DatasetError, match="more than"):
        fetch_busi("cairo")
    assert left(tmp_path) == []


def test_a_mirror_must_be_a_web_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_BUSI_URL", "file:///etc/hosts")
    with pytest.raises(OptionError, match="not a web address"):
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
    with pytest.raises(DatasetError, match="has changed since it was fetched"):
        fetch_busi(cache=tmp_path)


def test_without_kaggle_the_error_states_what_to_do_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> str:
        raise OSError("no network")

    hub = types.ModuleType("kagglehub")
    hub.dataset_download = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    with pytest.raises(DataUnavailableError, match=r"no network.*kaggle\.com.*Dataset_BUSI\.zip"):
        fetch_busi(cache=tmp_path)


@pytest.mark.parametrize("name", sorted(PUBLIC_SETS))
def test_a_licence_is_shown_and_has_to_be_accepted_once(server: Server, tmp_path: Path, name: str) -> None:
    lines: list[str] = []
    with pytest.raises(OptionError, match=r"accept_licence=True, --accept-licence"):
        fetch_dataset(name, log=lines.append)
    assert "doi 10." in lines[0]
    assert server.starts == []
    assert not (tmp_path / "cache").exists()
    if name == "busi":
        assert fetch_dataset(name, accept_licence=True) == fetch_dataset(name)


def bus_bra(folder: Path) -> dict[str, bytes]:
    """Return the files of BUS-BRA as in its archive."""
    pixels, mask = scan(1)
    files = {"Images/bus_0001-l.png": pixels, "Masks/mask_0001-l.png": mask}
    table = b"ID,Case,Pathology,BIRADS,Device,Side,Histology\nbus_0001-l,1,benign,3,GE Logiq 5,left,cyst\n"
    return {f"BUSBRA/{name}": save(folder / name, image).read_bytes() for name, image in files.items()} | {
        "BUSBRA/bus_data.csv": table,
        "BUSBRA/5-fold-cv.csv": b"ID,kFold\nbus_0001-l,1\n",
    }


def test_bus_bra_has_a_known_checksum(server: Server, tmp_path: Path) -> None:
    server.content = packed(bus_bra(tmp_path / "made"))
    with pytest.raises(DatasetError, match=r"BUSBRA\.zip: its SHA-256 is .*, not ba3e6ed19cc3.*sha256='"):
        fetch_dataset("bus-bra", accept_licence=True)
    own = hashlib.sha256(server.content).hexdigest()
    data = open_dataset(fetch_dataset("bus-bra", accept_licence=True, sha256=own))
    assert [(sample.label, sample.group) for sample in data] == [("benign", "BUS-BRA case 1")]


def test_breast_is_an_archive_and_a_table(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="extra tables is not installed")
    pixels, mask = scan(1)
    made = {f"{name}.png": save(tmp_path / f"{name}.png", image) for name, image in (("case001", pixels), ("case001_tumor", mask))}
    book = openpyxl.Workbook()
    book.active.append(["CaseID", "Image_filename", "Mask_tumor_filename", "Classification"])
    book.active.append([1, "case001.png", "case001_tumor.png", "malignant"])
    archive, table = PUBLIC_SETS["breast"].sources["tcia"]
    home = tmp_path / "cache/breast"
    home.mkdir(parents=True)
    (home / archive.name).write_bytes(packed({f"images/{name}": path.read_bytes() for name, path in made.items()}))
    book.save(home / table.name)
    own = hashlib.sha256((home / archive.name).read_bytes()).hexdigest()
    with pytest.raises(DatasetError, match=r"clinical-data-Dec-15-2023\.xlsx: its SHA-256 is .*, not 89a88744"):
        fetch_dataset("breast", accept_licence=True, cache=tmp_path / "cache", sha256=own)
    assert (home / table.name).exists()


def test_bus_uclm_has_no_known_checksum(server: Server, tmp_path: Path) -> None:
    pixels, mask = scan(1)
    colours = np.dstack([np.zeros_like(mask), mask, np.zeros_like(mask)]).astype(np.uint8) * 255
    files = {"images/ALWI_000.png": pixels, "masks/ALWI_000.png": colours}
    inside = {f"BUS-UCLM/{name}": save(tmp_path / name, image).read_bytes() for name, image in files.items()}
    server.content = packed({**inside, "BUS-UCLM/INFO.csv": b"Image;Label;Doppler;Marks\nALWI_000.png;Benign;No;No\n"})
    lines: list[str] = []
    data = open_dataset(fetch_dataset("bus-uclm", accept_licence=True, log=lines.append))
    assert [(sample.label, sample.group) for sample in data] == [("benign", "BUS-UCLM ALWI")]
    assert f"no checksum is known; the SHA-256 of the downloaded file is {hashlib.sha256(server.content).hexdigest()}" in lines[2]


def test_choices_are_checked() -> None:
    with pytest.raises(OptionError, match="'cairo', 'kaggle'"):
        fetch_busi("zenodo")
    with pytest.raises(OptionError, match="sha256"):
        fetch_busi(sha256="00")
