"""The real process: killed during a request and started again, and ended with pending requests; it leaves nothing behind."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drawn import draw_scan
from made_dicom import IDENTIFIERS, content, dicom, region
from PIL import Image
from served import Server, form, send_request
from typer.testing import CliRunner

import bcdseg
from bcdseg.cli import app
from bcdseg.inference.writers import png_bytes

LARGE = 2400  # pixels a side: long enough in work to be caught in it


def _png(seed: int, size: tuple[int, int] = (120, 160)) -> bytes:
    return png_bytes(Image.fromarray(draw_scan(seed, size)))


@pytest.fixture(scope="module")
def saved(small_model: bcdseg.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.save(tmp_path_factory.mktemp("served") / "small")


def _killed_in_a_request(server: Server) -> None:
    large, failed = _png(1, (LARGE, LARGE)), threading.Event()

    def lost() -> None:
        try:
            send_request(server.port, "POST", "/predict", large)
        except (OSError, http.client.HTTPException):
            failed.set()

    waiting = threading.Thread(target=lost)
    waiting.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)  # half an upload is in hand, too
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(len(large)))
    connection.endheaders(large[: len(large) // 2])
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    waiting.join()
    connection.close()
    assert failed.is_set()


def test_killed_in_a_request_it_starts_again_on_its_port_and_ends_in_peace(saved: Path, tmp_path: Path) -> None:
    first = Server(saved, tmp_path)
    _killed_in_a_request(first)
    again = Server(saved, tmp_path, port=first.port, options=["--grace", "60"])
    scans = [_png(seed, (1200, 1200)) for seed in range(6)]
    named = [form(scan, name="Secret^Name 19610203.png") for scan in scans]
    patient = content(dicom(draw_scan(2), region((0, 0, 120, 160))))
    with ThreadPoolExecutor(8) as pool:
        requests = [pool.submit(send_request, again.port, "POST", "/predict", *one) for one in named]
        requests.append(pool.submit(send_request, again.port, "POST", "/dicom-seg?kind=binary", patient))
        requests.append(pool.submit(send_request, again.port, "POST", "/dicom-seg?Secret=Name", patient))
        requests.append(pool.submit(send_request, again.port, "POST", "/Secret", patient))
        requests[-1].result()
        assert requests[0].result().status == 200
        ended = pool.submit(again.end, signal.SIGTERM)
        responses = [one.result() for one in requests]
        assert ended.result() == 0
    model = bcdseg.load(saved, device="cpu", runtime="torch")
    for scan, response in zip(scans, responses, strict=False):
        assert response.status == 200
        assert response.json["probabilities"] == pytest.approx(model.predict(scan).probabilities, abs=1e-5)
    assert [response.status for response in responses[6:]] == [200, 422, 404]
    log = again.log.read_text() + "".join(str(response.headers) for response in responses)
    assert "POST /dicom-seg 200" in log
    for secret in (*IDENTIFIERS, "Secret"):
        assert secret not in log
        assert all(secret.encode() not in response.body for response in responses)
    assert {path.name for path in tmp_path.iterdir()} == {first.log.name, again.log.name}  # also of the one that was killed


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_a_port_that_is_taken_is_reported_in_one_line(saved: Path, taken: int) -> None:
    done = CliRunner().invoke(app, ["serve", "--model", str(saved), "--port", str(taken)])
    assert isinstance(done.exception, bcdseg.errors.OptionError)
    assert f"127.0.0.1:{taken}: can't be listened at" in str(done.exception)


def test_limits_that_are_not_possible_are_refused(saved: Path) -> None:
    done = CliRunner().invoke(app, ["serve", "--model", str(saved), "--timeout", "nan"])
    assert isinstance(done.exception, bcdseg.errors.OptionError)
    assert "timeout=nan" in str(done.exception)


def test_without_the_extra_the_error_names_it(saved: Path) -> None:
    start = f"sys.argv = ['bcdseg', 'serve', '--model', {str(saved)!r}]; main()"
    code = f"import sys; sys.modules['uvicorn'] = None; from bcdseg.cli import main; {start}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "bcdseg: bcdseg serve needs uvicorn, which is not installed. Run: pip install 'bcdseg[serve]'"
