"""Limits of a server: bounded time, memory and connections, and an end in bounded time."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from drawn import draw_scan
from made_dicom import content, dicom, panicking_rle
from made_jpeg import endless_jpeg
from made_tiff import far_strips
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian
from served import PATIENCE, send_request, serving

import bcdseg
from bcdseg.inference.writers import png_bytes

SCAN = png_bytes(Image.fromarray(draw_scan(1)))


@pytest.fixture(scope="module")
def port(small_model: bcdseg.Model) -> Iterator[int]:
    with serving(small_model, connections=8, head_timeout=1) as port:
        yield port


def deflated_zeros() -> bytes:
    """Return a DICOM file of 30 kilobytes with four million empty elements."""
    made = dicom(draw_scan(1))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    start, deflater = content(made), zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return start[: 144 + int.from_bytes(start[140:144], "little")] + deflater.compress(bytes(32_000_000)) + deflater.flush()


REFUSED = {
    "deflated zeros": ("/predict", deflated_zeros, "more than 100,000 elements"),
    "RLE whose decoder panics": ("/predict", lambda: panicking_rle(draw_scan(1)), "truncated or damaged (PanicException)"),
    "RLE whose decoder panics, as DICOM-SEG": (
        "/dicom-seg",
        lambda: panicking_rle(draw_scan(1)),
        "truncated or damaged (PanicException)",
    ),
    "TIFF with offsets beyond any file": (
        "/mask",
        far_strips,
        "upload: can't be read as an image (OverflowError",
    ),
    "a spacing of light years": ("/predict?spacing=1e200", lambda: SCAN, "spacing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_files_that_cost_much_or_raise_foreign_exceptions_are_refused(port: int, kind: str) -> None:
    path, make, words = REFUSED[kind]
    response = send_request(port, "POST", path, make())
    assert (response.status, words in str(response.json["detail"])) == (422, True), response.json


def test_uploads_that_take_too_long_to_read_are_dropped_and_others_get_responses(small_model: bcdseg.Model) -> None:
    with serving(small_model, read_timeout=1, max_megapixels=25, timeout=PATIENCE) as port, ThreadPoolExecutor(8) as pool:
        endless = endless_jpeg()
        slow = [pool.submit(send_request, port, "POST", "/predict", endless) for _ in range(2)]
        assert send_request(port, "GET", "/health").status == 200
        for one in slow:
            response = one.result()
            assert (response.status, "reading it took longer than 1 s" in response.json["detail"]) == (422, True)
        assert send_request(port, "POST", "/predict", SCAN).status == 200
        assert send_request(port, "GET", "/ready").status == 200


def silent(port: int, start: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.sendall(start)
    return connection


def ends(connection: socket.socket) -> bool:
    """Return whether the other side closes the connection, after waiting for it."""
    with connection, suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def test_idle_connections_give_way_to_new_ones(port: int) -> None:
    idle = [silent(port) for _ in range(30)]
    assert send_request(port, "GET", "/health").status == 200
    assert send_request(port, "POST", "/predict", SCAN).status == 200
    assert all(map(ends, idle))


@pytest.mark.parametrize("start", [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_head_that_arrives_too_late_gets_an_error_and_the_connection_ends(port: int, start: bytes) -> None:
    late = silent(port, start)
    select.select([late], [], [], PATIENCE)
    late.sendall(b"x\r\n\r\n")  # does not take the response from the client
    assert late.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert ends(late)


def half_sent(port: int) -> socket.socket:
    return silent(port, b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(SCAN))


def test_a_connection_that_gave_way_before_its_request_came_gets_a_response(small_model: bcdseg.Model) -> None:
    with serving(small_model, connections=2) as port:
        waiting = [silent(port) for _ in range(4)]
        select.select(waiting[:1], [], [], PATIENCE)
        responses = []
        for connection in waiting:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            responses.append(connection.recv(65536)[9:12])
            assert ends(connection)
    assert responses == [b"503", b"503", b"200", b"200"]


def test_too_many_busy_connections_are_refused_with_a_response_and_no_other_is_lost(small_model: bcdseg.Model) -> None:
    with serving(small_model, connections=2) as port:
        waiting = [half_sent(port) for _ in range(5)]
        (refused,) = select.select(waiting, [], [], PATIENCE)[0]
        response = refused.recv(65536)
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in response
        assert b"too many connections" in response
        taken = [connection for connection in waiting if connection is not refused]
        for connection in taken:
            connection.sendall(SCAN)
        for connection in taken:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        for connection in waiting:
            connection.close()


def test_a_refused_upload_that_is_still_on_its_way_gets_its_response(small_model: bcdseg.Model) -> None:
    with serving(small_model, queue=1) as port:
        taken = half_sent(port)
        while send_request(port, "POST", "/predict", SCAN).status == 200:
            pass
        refused = half_sent(port)
        select.select([refused], [], [], PATIENCE)
        refused.sendall(SCAN)
        assert refused.recv(65536).startswith(b"HTTP/1.1 429 ")
        taken.close()
        refused.close()


@pytest.mark.parametrize(("path", "status"), [("/predict", 413), ("/no-such-path", 404)])
@pytest.mark.parametrize("declared", [b"Content-Length: 20000000000", b"Transfer-Encoding: chunked"])
def test_a_body_that_nobody_wants_is_not_read_on(port: int, path: str, status: int, declared: bytes) -> None:
    head = b"POST " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + declared + b"\r\n\r\n"
    piece, sent = bytes(2**20), 0
    if b"chunked" in declared:
        piece = b"100000\r\n" + piece + b"\r\n"
    with silent(port, head) as connection:
        with suppress(OSError):
            while sent < 500:
                connection.sendall(piece)
                sent += 1
        response = connection.recv(65536)
    assert sent < 100
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in response.lower()


def test_only_requests_to_own_names_are_accepted(port: int, small_model: bcdseg.Model) -> None:
    for name, status in (("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost", 200), (f"127.0.0.1:{port}", 200)):
        assert send_request(port, "GET", "/model", Host=name).status == status
    assert "allow-host" in str(send_request(port, "POST", "/predict", SCAN, Host="evil.example").json["detail"])
    with serving(small_model, allowed_hosts=("Scans.example",)) as allowing:
        assert send_request(allowing, "POST", "/predict", SCAN, Host="scans.example:80").status == 200
        assert send_request(allowing, "GET", "/health", Host="evil.example").status == 403
    with serving(small_model, allowed_hosts=("*",)) as open_to_all:
        assert send_request(open_to_all, "GET", "/health", Host="evil.example").status == 200


@pytest.fixture
def stuck(small_model: bcdseg.Model, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a server whose model never returns from a scan, in a process of its own."""
    script = Path(__file__).parents[1] / "stuck_server.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), str(small_model.save(tmp_path / "model"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        found = re.search(r"port (\d+)", process.stdout.readline())
        assert found
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def test_a_server_that_is_stuck_reports_it_and_ends_on_a_signal(stuck: tuple[subprocess.Popen[str], int]) -> None:
    process, port = stuck
    while send_request(port, "GET", "/ready").json["state"] == "warming":
        pass
    while send_request(port, "GET", "/ready").json["state"] == "ready":  # until each worker has a scan
        assert send_request(port, "POST", "/predict", SCAN).status == 503
    assert send_request(port, "GET", "/ready").json["state"] == "busy"
    assert "busy" in str(send_request(port, "POST", "/predict", SCAN).json["detail"])
    assert send_request(port, "GET", "/health").status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 1
