"""A server under load: lost and wrong responses, and its throughput compared with the batch predictor's.

    python benchmarks/serve.py [--scans data/sample] [--requests 320] [--clients 32] [--rounds 5] [--runtime torch]

``bcdseg serve`` runs in a process of its own, and the clients are threads of another one: on one machine they share the processor
with the server. The batch predictor, ``model.predict`` of all files' bytes, runs in a third process. Server and predictor take
turns, and the table shows each round's ratio. Every response is compared with the result of ``model.predict`` for that scan, to the
last bit.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
PREDICT = "--predict"


def scans_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png") if "_mask" not in path.stem)


def run_predictor(options: argparse.Namespace) -> None:
    """Print the predictions of all scans, then for each line on stdin the seconds that all requests take."""
    import bcdseg

    contents = [path.read_bytes() for path in scans_of(options.scans)]
    model = bcdseg.load(options.model, device=options.device, runtime=options.runtime)
    print(json.dumps([prediction.to_dict() for prediction in model.predict(contents)]), flush=True)
    work = list(itertools.islice(itertools.cycle(contents), options.requests))
    for _ in sys.stdin:
        start = time.perf_counter()
        for prediction in model.predict(work):
            json.dumps(prediction.to_dict())
        print(time.perf_counter() - start, flush=True)


def send_all(port: int, options: argparse.Namespace, contents: list[bytes], expected: list[Any]) -> dict[str, Any]:
    """Send all requests, each client over its own connection, and count the responses by kind."""
    work: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(options.requests):
        work.put(number % len(contents))
    found: dict[str, Any] = {"right": 0, "wrong": 0, "lost": 0, "refused with 429": 0, "ms": []}
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        while True:
            try:
                at = work.get_nowait()
            except queue.Empty:
                return
            start = time.perf_counter()
            try:
                connection.request("POST", "/predict", contents[at], {"Content-Type": "image/png"})
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException):
                with lock:
                    found["lost"] += 1
                connection.close()
                continue
            if response.status == 429:
                work.put(at)
            kind = {200: "right", 429: "refused with 429"}.get(response.status, "lost")
            if kind == "right":
                prediction = json.loads(body)
                same = all(prediction[name] == value for name, value in expected[at].items() if name != "source")
                kind = "right" if same else "wrong"
            with lock:
                found[kind] += 1
                found["ms"].append(1000 * (time.perf_counter() - start))

    threads = [threading.Thread(target=client) for _ in range(options.clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**found, "seconds": time.perf_counter() - start}


def start_server(options: argparse.Namespace) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "bcdseg", "serve", "--port", "0", "--model", options.model, "--runtime", options.runtime]
    command += ["--device", options.device, "--timeout", "300"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    found = re.search(r":(\d+) ", process.stdout.readline())
    assert found is not None
    port = int(found[1])
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return process, port
        except OSError:
            pass
        time.sleep(0.1)


def compare(options: argparse.Namespace) -> None:
    command = [sys.executable, __file__, PREDICT, *sys.argv[1:]]
    predictor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert predictor.stdin is not None
    assert predictor.stdout is not None
    expected = json.loads(predictor.stdout.readline())
    contents = [path.read_bytes() for path in scans_of(options.scans)]
    server, port = start_server(options)
    print(f"{options.model} on {options.runtime}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; ", end="")
    print(f"{options.requests} requests a round, {len(contents)} different scans, {options.clients} clients\n")
    print("| round | predictor, scans a second | server, scans a second | ratio | right | wrong | lost | 429 | ms: median, 95 % |")
    print("|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for number in range(1, options.rounds + 1):
        predictor.stdin.write("go\n")
        predictor.stdin.flush()
        batch = float(predictor.stdout.readline())
        found = send_all(port, options, contents, expected)
        ratios.append(batch / found["seconds"])
        times = statistics.quantiles(found["ms"], n=20)
        cells = [number, f"{options.requests / batch:.1f}", f"{options.requests / found['seconds']:.1f}", f"{ratios[-1]:.2f}"]
        cells += [found["right"], found["wrong"], found["lost"], found["refused with 429"], f"{times[9]:.0f}, {times[18]:.0f}"]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
    print(f"\nMedian ratio {statistics.median(ratios):.2f} (goal: at least 0.9)")
    server.send_signal(signal.SIGTERM)
    predictor.stdin.close()
    print(f"The server ended with {server.wait(60)}, the predictor with {predictor.wait(60)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=Path, default=SAMPLE)
    parser.add_argument("--requests", type=int, default=320)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="busi-lite")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runtime", default="torch")
    parser.add_argument(PREDICT, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    run_predictor(options) if options.predict else compare(options)


if __name__ == "__main__":
    main()
