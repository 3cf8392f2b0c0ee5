"""Processor time that hostile files cost until they are refused.

    python benchmarks/serve_hostile.py [--limit 120] [--model busi-lite] [--no-server]

Each file is given to ``model.predict`` in a process of its own, and then to ``bcdseg serve``. The processor time counts, since it
depends little on what else the machine does; for the server it is that of the server and of its processes. A prediction that has
not finished within the limit is ended. The script uses the public interface alone, so it measures earlier versions too: put their
checkout first in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from serve_load import children, deflated_zeros, endless_jpeg, post, start_server

PREDICT = """
import json, signal, sys, time
import bcdseg

model = bcdseg.load(sys.argv[1], device="cpu", runtime="torch")
content = open(sys.argv[2], "rb").read()
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[3]))
start, wall = time.process_time(), time.monotonic()
try:
    model.predict(content)
    outcome = "predicted"
except Exception as error:
    outcome = type(error).__name__
print(json.dumps([outcome, time.process_time() - start, time.monotonic() - wall]))
"""


def zeros() -> bytes:
    """Return 31 million zeros behind the mark of DICOM: a header of millions of empty elements."""
    return bytes(128) + b"DICM" + bytes(31_000_000)


def empty_elements() -> bytes:
    """Return a DICOM file of two million private elements without values."""
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    start = bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta
    elements = (struct.pack("<HH2sH", 9 + 2 * (at // 60_000), 0x1000 + at % 60_000, b"LO", 0) for at in range(2_000_000))
    return start + b"".join(elements)


FILES: dict[str, Callable[[], bytes]] = {
    "deflated DICOM of zeros": deflated_zeros,
    "DICOM of two million empty elements": empty_elements,
    "31 million zeros": zeros,
    "progressive JPEG in 5,000 passes": endless_jpeg,
}


def predicted(model: str, path: Path, limit: float) -> str:
    command = [sys.executable, "-c", PREDICT, model, str(path), str(limit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == -signal.SIGPROF:
        return f"not finished after {limit:g} s"
    done.check_returncode()
    outcome, processor, passed = json.loads(done.stdout.splitlines()[-1])
    return f"{processor:.2f} s ({passed:.2f} s passed), {outcome}"


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its children, with those of them that have ended."""
    total = 0
    for one in (pid, *children(pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(fields[at]) for at in (11, 12, 13, 14))
    return total / os.sysconf("SC_CLK_TCK")


def served(port: int, pid: int, content: bytes) -> str:
    start, before = time.monotonic(), processor_seconds(pid)
    try:
        outcome = str(post(port, content)[0])
    except (OSError, http.client.HTTPException) as error:
        outcome = type(error).__name__
    return f"{processor_seconds(pid) - before:.2f} s ({time.monotonic() - start:.2f} s passed), {outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of the processor after which a prediction is ended")
    parser.add_argument("--model", default="busi-lite")
    parser.add_argument("--server", action=argparse.BooleanOptionalAction, default=True, help="whether a server gets the files too")
    options = parser.parse_args()
    print(f"{options.model} on torch, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}\n")
    print("| file | bytes | `predict` | `serve` |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        process, port = start_server(options.model, Path(folder) / "log") if options.server else (None, 0)
        for name, make in FILES.items():
            path = Path(folder) / "file"
            path.write_bytes(make())
            cell = served(port, process.pid, path.read_bytes()) if process else "not run"
            print(f"| {name} | {path.stat().st_size:,} | {predicted(options.model, path, options.limit)} | {cell} |", flush=True)
        if process:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


if __name__ == "__main__":
    main()
