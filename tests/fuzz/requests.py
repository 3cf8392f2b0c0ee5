"""HTTP requests to fuzz the server and the page with."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from fuzz import seeds
from fuzz.mutations import BYTES, Mutation, change_line, mutate
from served import form, send_request, serving

import bcdseg
from bcdseg.app.limits import Limits

PATIENCE = 60.0  # seconds without a byte from the server, which has limits far below
TOKEN, SCAN = b"a-token", b"a-scan"


class BrokenServerError(AssertionError):
    """Error for a server that met an error of its own, or sent no response."""


def _request(method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Origin: http://127.0.0.1", "Connection: close"]
    head += [f"Content-Type: {kind}"] if kind else []
    head += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    return "\r\n".join((*head, "", "")).encode() + body


def serve_requests() -> dict[str, bytes]:
    scan, dicom = seeds.images()["gray.png"], seeds.dicoms()["plain.dcm"]
    chunked = _request("POST", "/predict").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return {
        "predict": _request("POST", "/predict?threshold=0.4&spacing=0.1&mask=true&operating_point=x", scan, "image/png"),
        "plain": _request("POST", "/predict?spacing=0.1&mask=true", scan, "image/png"),
        "form": _request("POST", "/mask?threshold=0.5", *form(scan)),
        "clip": _request("POST", "/predict?frame=1", seeds.dicoms()["clip.dcm"], "application/dicom"),
        "segmentation": _request("POST", "/dicom-seg?kind=probability", dicom, "application/dicom"),
        "chunked": chunked + b"%x\r\n" % len(scan) + scan + b"\r\n0\r\n\r\n",
        "ready": _request("GET", "/ready"),
        "openapi": _request("GET", "/openapi.json"),
    }


def app_requests() -> dict[str, bytes]:
    scan, api = seeds.images()["gray.png"], f"/api/{TOKEN.decode()}"
    one = f"{api}/scans/{SCAN.decode()}"
    return {
        "session": _request("POST", "/api/session"),
        "scan": _request("POST", f"{api}/scans?name=a.png", scan),
        "clip": _request("POST", f"{api}/scans?name=a.dcm", seeds.dicoms()["clip.dcm"]),
        "sample": _request("POST", f"{api}/samples/benign"),
        "prediction": _request("GET", f"{one}/prediction?threshold=0.4&spacing=0.1&model=small&operating_point=x"),
        "plain": _request("GET", f"{one}/prediction?threshold=0.4&spacing=0.1"),
        "heat": _request("GET", f"{one}/heat.png?explain=benign"),
        "levels": _request("GET", f"{one}/levels"),
        "mask": _request("GET", f"{one}/files/mask.png"),
        "table": _request("GET", f"{api}/table.csv"),
        "clips": _request("GET", f"{api}/clips"),
        "report": _request("POST", f"{api}/report", b"<!doctype html>" + b"x" * 100),
        "card": _request("GET", f"{api}/card?model=small"),
        "static": _request("GET", "/static/main.js"),
    }


LENGTH = re.compile(rb"(?im)^content-length:.*$")


def change_body(content: bytes, random: Random) -> bytes:
    """Change the body of a request, and mostly make its length fit."""
    head, mark, body = content.partition(b"\r\n\r\n")
    body = mutate(body, random, BYTES)
    if random.random() < 0.9:
        head = LENGTH.sub(b"Content-Length: %d\r" % len(body), head)
    return head + mark + body


def change_head(content: bytes, random: Random) -> bytes:
    """Change the head of a request."""
    head, mark, body = content.partition(b"\r\n\r\n")
    return mutate(head, random, (*BYTES, change_line)) + mark + body


def change_query(content: bytes, random: Random) -> bytes:
    """Change the path or the options of a request."""
    line, mark, rest = content.partition(b" HTTP/")
    values = (b"nan", b"inf", b"-1", b"1e999", b"%00", b"%ff%fe", b"%F0%9F%98%80", b"0.5", b"..%2f..", b"a" * 3000, b"", b"%")
    parts = re.split(rb"([/?&=])", line)
    parts[random.randrange(len(parts))] = random.choice(values)
    return b"".join(parts) + mark + rest


MUTATIONS: tuple[Mutation, ...] = (change_body, change_body, change_head, change_query, change_query)


def small_model() -> bcdseg.Model:
    return bcdseg.create("plain_cnn", classes=["benign", "malignant"], size=32, decoder_channels=(8, 8, 8, 8, 8), seed=0)


@contextmanager
def served(_: Path) -> Iterator[Callable[[str, bytes], None]]:
    unexpected: list[str] = []
    with serving(small_model(), timeout=5, head_timeout=2, read_timeout=10) as port, _logged("bcdseg.serve", unexpected):

        def read(_: str, content: bytes) -> None:
            send(port, content)
            if unexpected:
                raise BrokenServerError(unexpected.pop())
            assert send_request(port, "GET", "/health").status == 200

        yield read


@contextmanager
def page(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    from bcdseg.app.prediction_cache import ModelStore
    from bcdseg.app.server import create_app
    from bcdseg.web.server import BoundedServer, ConnectionLimits

    models = ModelStore([str(small_model().save(folder / "small"))])
    limits = Limits(stall_seconds=5, arrival_seconds=10, scans=1000, sessions=1000)
    connections = ConnectionLimits(most=16, head_seconds=2, request_seconds=30)
    server = BoundedServer(create_app(models, limits=limits), connections=connections, grace=1, log_config=None)
    unexpected: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, _logged("uvicorn.error", unexpected):
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            origin = {"Origin": f"http://127.0.0.1:{port}"}
            token = send_request(port, "POST", "/api/session", **origin).json["token"]
            path = f"/api/{token}/scans?name=a.png"
            scan = send_request(port, "POST", path, seeds.images()["gray.png"], **origin).json["scans"][0]["id"]

            def read(_: str, content: bytes) -> None:
                send(port, content.replace(TOKEN, token.encode()).replace(SCAN, scan.encode()))
                if unexpected:
                    raise BrokenServerError(unexpected.pop())

            yield read
        finally:
            server.should_exit = True
            thread.join()


def send(port: int, content: bytes) -> None:
    """Send a request, and check that a response or the end of the connection comes in time."""
    response = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # the server refused it before all was sent
            connection.sendall(content)
        try:
            while part := connection.recv(65536):
                response = (response + part)[:65536]
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise BrokenServerError("sent nothing, and kept the connection open") from None
    status = re.match(rb"HTTP/1\.1 (\d+) ", response)
    if response and status is None:
        raise BrokenServerError(f"sent no HTTP: {response[:40]!r}")
    if status and int(status[1]) >= 500 and int(status[1]) != 503:
        raise BrokenServerError(f"responded with {int(status[1])}")


@contextmanager
def _logged(name: str, found: list[str]) -> Iterator[None]:
    """Collect the errors that a logger gets."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            found.append(f"{record.getMessage()} {type(error).__name__ if error else ''}")

    handler, logger = Collect(level=logging.ERROR), logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
