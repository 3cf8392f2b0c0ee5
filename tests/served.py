"""Requests to a server, and a server in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import bcdseg
from bcdseg.serve.limits import Limits
from bcdseg.serve.server import Running

PATIENCE = 120.0
SMALL = {"max_mb": 3, "max_megapixels": 1, "timeout": 60}


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


def send_request(port: int, method: str, path: str, body: bytes | None = None, kind: str = "", **headers: str) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # the response came and the connection was closed before all was sent
            connection.request(method, path, body, {"Content-Type": kind, **headers} if kind else headers)
        response = connection.getresponse()
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def form(content: bytes, name: str = "scan.png") -> tuple[bytes, str]:
    """Return a form with one file, and its content type."""
    head = f'--mark\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--mark--\r\n", "multipart/form-data; boundary=mark"


@contextmanager
def serving(model: bcdseg.Model, *, allowed_hosts: Sequence[str] = (), **limits: Any) -> Iterator[int]:
    running = Running(model, host="127.0.0.1", port=0, limits=Limits(**{**SMALL, **limits}), allowed_hosts=allowed_hosts)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while send_request(running.port, "GET", "/ready").json["state"] == "warming":
            pass
        yield running.port
    finally:
        running.stop()
        thread.join()


class Server:
    """Process of ``bcdseg serve``, started as by a user."""

    def __init__(self, model: Path, folder: Path, *, port: int = 0, options: Sequence[str] = ()) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        command = [sys.executable, "-m", "bcdseg", "serve", "--model", str(model), "--port", str(port), *options]
        surroundings = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=surroundings)
        self.port = self._wait(self._announced)
        self._wait(lambda: send_request(self.port, "GET", "/ready").status == 200)

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def _announced(self) -> int | None:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())
        return int(found[1]) if found else None

    def _wait(self, tried: Callable[[], Any]) -> Any:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if found := tried():
                    return found
            except OSError:  # not listening yet
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())
