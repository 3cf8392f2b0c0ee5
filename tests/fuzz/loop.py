"""The fuzzing loop: mutated files are read in a process of its own, and each file that breaks the contract is stored.

The contract of a reader: it returns, or raises a ``BcdsegError``, within bounded time and memory, and reaches for no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

CASE_SECONDS = 20.0  # processor time for one file
HANG_SECONDS = 150.0  # time for one file, after which its process is killed
START_SECONDS = 900.0  # time until the first file: imports, and each seed file once
MEMORY = 3 * 2**30  # bytes for one file, beyond those of the process before it
LOOPBACK = ("127.0.0.1", "localhost", "::1", None)
CORPUS = Path(__file__).parent / "corpus"


@dataclass
class Report:
    """Result of fuzzing a reader.

    Attributes:
        read: Number of files that were read.
        refused: Number of files that were refused with a ``BcdsegError``.
        slowest: Longest processor time for a file in seconds.
        failures: Stored file and error of each kind of failure.
    """

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        found = "".join(f"\n  {path}: {problem}" for path, problem in self.failures.items())
        return (
            f"{self.read + self.refused:,} files: {self.read:,} read, {self.refused:,} refused, "
            f"slowest {self.slowest:.1f} s, {len(self.failures)} kinds of failure{found}"
        )


class ReachedOutError(AssertionError):
    """Error for a reader that reached for the network."""


def check_case(read: Any, name: str, content: bytes) -> bool:
    """Read a file, and return whether it was read (True) or refused (False).

    Raises:
        BaseException: The reader broke its contract.
    """
    from bcdseg.errors import BcdsegError

    start, reached = time.process_time(), []
    with _no_network(reached):
        try:
            read(name, content)
            was_read = True
        except BcdsegError:
            was_read = False
    if reached:
        raise ReachedOutError(f"reached for {reached[0]}")
    if (seconds := time.process_time() - start) > CASE_SECONDS:
        raise TimeoutError(f"took {seconds:.0f} s")
    return was_read


@contextmanager
def _no_network(reached: list[Any]) -> Iterator[None]:
    resolve = socket.getaddrinfo

    def refuse(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in LOOPBACK:
            reached.append(host)
            raise OSError("no network while fuzzing")
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = refuse
    try:
        yield
    finally:
        socket.getaddrinfo = resolve


def run_here(name: str, seconds: float, seed: int, folder: Path) -> Report:
    """Fuzz a reader in this process, and return what was found.

    Args:
        name: Name of the target.
        seconds: Time to run.
        seed: Seed of the mutations.
        folder: Folder for the current file and for those that fail.
    """
    import warnings

    from fuzz.mutations import mutate
    from fuzz.targets import TARGETS

    warnings.simplefilter("ignore")
    target, random, report, kinds = TARGETS[name], Random(seed), Report(), Counter[str]()
    files = {**target.seeds(), **{path.name: path.read_bytes() for path in _corpus(name)}}
    with tempfile.TemporaryDirectory() as place, target.reading(Path(place)) as read:
        _warm_up(read, files)
        _limit_memory()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            seed_name = random.choice(list(files))
            content = mutate(files[seed_name], random, target.mutations.get(Path(seed_name).suffix) or target.mutations[""])
            (folder / "current").write_bytes(content)
            (folder / "current-name").write_text(seed_name)
            start = time.process_time()
            try:
                was_read = check_case(read, seed_name, content)
                report.read, report.refused = report.read + was_read, report.refused + (not was_read)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                kind = _kind(error)
                kinds[kind] += 1
                if kinds[kind] == 1:
                    stored = store(folder, seed_name, content)
                    report.failures[str(stored)] = kind
                    stored.with_name(stored.name + ".txt").write_text(traceback.format_exc())
            report.slowest = max(report.slowest, time.process_time() - start)
    return report


def _corpus(name: str) -> list[Path]:
    return sorted((CORPUS / name).glob("*"))


def _warm_up(read: Any, files: dict[str, bytes]) -> None:
    """Read each file once, so that imports and caches count for no later file."""
    for name, content in files.items():
        with suppress(Exception):
            read(name, content)


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def _kind(error: BaseException) -> str:
    """Return class and place of an error, which identify one fault in many files."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "bcdseg" in frame.filename]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    message = str(error) if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__}{place} {message[:200]}".strip()


def store(folder: Path, name: str, content: bytes) -> Path:
    """Store a file that failed under a name made of its content."""
    path = folder / f"{Path(name).stem.partition('-')[0]}-{hashlib.sha256(content).hexdigest()[:10]}{Path(name).suffix}"
    path.write_bytes(content)
    return path


def run(name: str, seconds: float, seed: int, folder: Path) -> Report:
    """Fuzz a reader in a process of its own, which is started again where a file ends or stalls it.

    Args:
        name: Name of the target.
        seconds: Time to run.
        seed: Seed of the mutations.
        folder: Folder for the files that fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total, until = Report(), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        command = [sys.executable, "-m", "fuzz", name, "--seconds", str(left), "--seed", str(seed), "--out", str(folder), "--here"]
        with (folder / "log").open("wb") as log:  # libraries written in C print on stderr
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
            output = _wait(process, folder / "current")
        if process.returncode == 0:
            one = json.loads(output.splitlines()[-1])
            return _sum(total, Report(**one))
        current = folder / "current"
        if process.returncode == 1 or not current.exists():
            raise RuntimeError(f"{name}: the fuzzer itself failed:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
        stored = store(folder, (folder / "current-name").read_text(), current.read_bytes())
        total.failures[str(stored)] = f"ended or stalled the process ({process.returncode})"
        current.unlink()
        seed += 1
    return total


def _wait(process: subprocess.Popen[str], current: Path) -> str:
    """Return the output of a process, which is killed when it stays at one file for too long."""
    start = time.time()
    while True:
        try:
            return process.communicate(timeout=5)[0]
        except subprocess.TimeoutExpired:
            has_started = current.exists() and current.stat().st_mtime > start
            waited = time.time() - (current.stat().st_mtime if has_started else start)
            if waited > (HANG_SECONDS if has_started else START_SECONDS):
                process.kill()


def _environment() -> dict[str, str]:
    tests = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": tests, "BCDSEG_RUNTIME": "torch", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _sum(one: Report, other: Report) -> Report:
    return Report(
        one.read + other.read,
        one.refused + other.refused,
        max(one.slowest, other.slowest),
        {**one.failures, **other.failures},
    )
