"""A server under 200 clients, slow, broken and hostile ones among them: responses to the good ones, times and memory.

    python benchmarks/serve_load.py [--requests 2000] [--clients 200] [--seconds 3600] [--model busi-lite]

``bcdseg serve`` runs in a process of its own with its default limits. Three of four clients are good: they send sample scans, wait
when they get 429 or 503, and compare each response with the result of ``model.predict`` for that scan. The others send bodies that
stall, connections that are cut off, and files that are made to cost much, for as long as the good ones work. The table shows the
responses to the good clients, their times, and the memory of the server with its processes after each quarter of the requests.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
PATIENCE = 300.0
EXPECTED = ("right", "wrong", "429", "503")


def scans() -> list[bytes]:
    return [path.read_bytes() for path in sorted(SAMPLE.rglob("*.png")) if "_mask" not in path.stem]


def expected(model: str, contents: list[bytes]) -> list[dict[str, Any]]:
    import bcdseg

    loaded = bcdseg.load(model, device="cpu", runtime="torch")
    facts = [prediction.to_dict() for prediction in loaded.predict(contents)]
    return [json.loads(json.dumps({name: value for name, value in one.items() if name != "source"})) for one in facts]


@dataclass
class Results:
    """Responses to the good clients, and the memory of the server."""

    kinds: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    health_seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    attacks: Counter[str] = field(default_factory=Counter)


class Load:
    """Clients of a server."""

    def __init__(self, port: int, pid: int, requests: int, contents: list[bytes], facts: list[dict[str, Any]]) -> None:
        self.port, self.pid, self.requests, self.contents, self.facts = port, pid, requests, contents, facts
        self.results, self.lock, self.done = Results(), threading.Lock(), threading.Event()
        self.numbers, self.until = itertools.count(), 0.0

    def run(self, clients: int, longest: float) -> float:
        """Run all clients until the good ones have made all requests or the time is over, and return the seconds."""
        self.until = time.monotonic() + longest
        attackers = clients // 4
        attacks = list(itertools.islice(itertools.cycle(ATTACKS), attackers))
        good = [threading.Thread(target=self._good) for _ in range(clients - attackers)]
        others = [threading.Thread(target=self._attack, args=(attack,), daemon=True) for attack in attacks]
        others.append(threading.Thread(target=self._probe, daemon=True))
        start = time.monotonic()
        for thread in (*others, *good):
            thread.start()
        for thread in good:
            thread.join()
        seconds = time.monotonic() - start
        self.done.set()
        return seconds

    def _good(self) -> None:
        while (number := next(self.numbers)) < self.requests and time.monotonic() < self.until:
            at = number % len(self.contents)
            while (kind := self._request(at)) in ("429", "503") and time.monotonic() < self.until:
                time.sleep(1)
            with self.lock:
                if kind == "right" and self.results.kinds["right"] % max(1, self.requests // 4) == 0:
                    self.results.memory.append(megabytes(self.pid))

    def _request(self, at: int) -> str:
        start = time.monotonic()
        try:
            status, body = post(self.port, self.contents[at])
            kind = str(status)
            if status == 200:
                response = json.loads(body)
                kind = "right" if all(response[name] == value for name, value in self.facts[at].items()) else "wrong"
        except (OSError, http.client.HTTPException, ValueError) as error:
            kind = f"lost ({type(error).__name__})"
        with self.lock:
            self.results.kinds[kind] += 1
            times = self.results.refused_seconds if kind in ("429", "503") else self.results.seconds
            times.append(time.monotonic() - start)
        return kind

    def _attack(self, attack: Callable[[int, threading.Event], str]) -> None:
        while not self.done.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                outcome = attack(self.port, self.done)
                with self.lock:
                    self.results.attacks[f"{attack.__name__}: {outcome}"] += 1
            self.done.wait(0.2)

    def _probe(self) -> None:
        while not self.done.wait(1):
            start = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    self.results.health_seconds.append(time.monotonic() - start)
                connection.close()


def post(port: int, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", "/predict", body, {"Content-Type": "image/png", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def stalls(port: int, done: threading.Event) -> str:
    """Send a body byte by byte, until the server gives up."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n")
        connection.settimeout(1)
        while not done.is_set():
            connection.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                return connection.recv(100)[9:12].decode() or "closed"
    return "not ended"


def stays_idle(port: int, done: threading.Event) -> str:
    """Open a connection and send nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                return "closed" if not connection.recv(100) else "response"
    return "not ended"


def is_cut_off(port: int, _: threading.Event) -> str:
    """Send half of a request, and close the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
    return "cut off"


def sends_nonsense(port: int, _: threading.Event) -> str:
    return str(post(port, random.randbytes(20_000))[0])


def sends_a_large_body(port: int, _: threading.Event) -> str:
    return str(post(port, bytes(40_000_000))[0])


def sends_deflated_zeros(port: int, _: threading.Event) -> str:
    return str(post(port, DEFLATED_ZEROS)[0])


def sends_an_endless_jpeg(port: int, _: threading.Event) -> str:
    return str(post(port, ENDLESS_JPEG)[0])


def names_another_host(port: int, _: threading.Event) -> str:
    return str(post(port, b"x", Host="evil.example")[0])


def endless_jpeg() -> bytes:
    """Return a progressive JPEG of 25 million pixels in 5,000 passes, which takes a decoder minutes."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4800, 5200), np.uint8)).save(buffer, "JPEG", progressive=True, quality=5)
    whole = buffer.getvalue()
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * 5000 + b"\xff\xd9"


def deflated_zeros() -> bytes:
    """Return a DICOM file of 30 kilobytes with four million empty elements."""
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    start = bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return start + deflater.compress(bytes(32_000_000)) + deflater.flush()


DEFLATED_ZEROS, ENDLESS_JPEG = deflated_zeros(), endless_jpeg()
ATTACKS: tuple[Callable[[int, threading.Event], str], ...] = (
    stalls,
    stays_idle,
    is_cut_off,
    sends_nonsense,
    sends_a_large_body,
    sends_deflated_zeros,
    sends_an_endless_jpeg,
    names_another_host,
)


def megabytes(pid: int) -> float:
    """Return the memory of a process and of its children, in million bytes that no other process shares with them."""
    total = 0
    for one in (pid, *children(pid)):
        with contextlib.suppress(OSError):
            total += sum(
                int(size) for size in re.findall(r"Private_\w+:\s+(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text())
            )
    return total * 1024 / 1e6


def children(pid: int) -> list[int]:
    text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(one) for one in text.split()]


def start_server(model: str, log: Path) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-m", "bcdseg", "serve", "--port", "0", "--model", model, "--runtime", "torch", "--device", "cpu"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    while (announced := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    port = int(announced[1])
    while True:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return process, port
        time.sleep(0.1)


def quantiles(values: list[float]) -> str:
    if len(values) < 2:
        return ", ".join(f"{value:.2f}" for value in values) or "none"
    cuts = statistics.quantiles(values, n=20)
    return f"{cuts[9]:.2f}, {cuts[18]:.2f}, {max(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="requests of the good clients together")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3600.0, help="time after which the good clients end")
    parser.add_argument("--model", default="busi-lite")
    parser.add_argument(
        "--log", type=Path, default=Path(tempfile.gettempdir()) / "serve-load.log", help="where the server's log goes"
    )
    options = parser.parse_args()
    contents = scans()
    facts = expected(options.model, contents)
    busy = os.getloadavg()[0]
    process, port = start_server(options.model, options.log)
    load = Load(port, process.pid, options.requests, contents, facts)
    load.results.memory.append(megabytes(process.pid))
    seconds = load.run(options.clients, options.seconds)
    results = load.results
    results.memory.append(megabytes(process.pid))
    process.send_signal(signal.SIGTERM)
    status = process.wait(60)
    print(f"{options.model} on torch, {os.cpu_count()} cores, load average {busy:.1f} before; ", end="")
    print(
        f"{options.requests} requests of {options.clients - options.clients // 4} good clients and {options.clients // 4} others\n"
    )
    rows = [
        ("right responses", results.kinds["right"]),
        ("wrong responses", results.kinds["wrong"]),
        ("requests without a response", sum(count for kind, count in results.kinds.items() if kind.startswith("lost"))),
        (
            "other responses",
            ", ".join(f"{count} {kind}" for kind, count in results.kinds.items() if kind not in EXPECTED) or "none",
        ),
        ("429: come again", results.kinds["429"]),
        ("503: come again", results.kinds["503"]),
        ("right responses per second", f"{results.kinds['right'] / seconds:.1f}"),
        ("seconds for a right response: median, 95 %, longest", quantiles(results.seconds)),
        ("seconds for 429 or 503: median, 95 %, longest", quantiles(results.refused_seconds)),
        ("seconds for `/health`: median, 95 %, longest", quantiles(results.health_seconds)),
        (
            "memory at the start, after each quarter of the requests, and at the end, MB",
            ", ".join(f"{one:.0f}" for one in results.memory),
        ),
        ("errors in the server's log", options.log.read_text().count("Traceback") + options.log.read_text().count(" unexpected ")),
        ("exit status after SIGTERM", status),
    ]
    print("| good clients | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    print("\n| other clients: what they got | times |\n|---|---|")
    for name, count in sorted(results.attacks.items()):
        print(f"| {name.replace('_', ' ')} | {count} |")


if __name__ == "__main__":
    main()
