"""Tests of work that is killed, that two processes do at the same time, or that lacks disk space, rights or memory.

    python benchmarks/chaos.py --kills 50

Each kind of work runs in a forked process that is killed with SIGKILL after a random part of the time that it takes. The modules
that it uses are imported before the fork, so that a kill hits the work rather than its imports. After each kill no file may be
half-written and nothing that was reported as done may be missing; then the work is resumed, or done again, and its files must be
those of a run that was not killed. The second table shows what happens

- when two processes do the same work in the same folder at the same time,
- on a disk that is full, on one that is read-only, and in a folder in which the user may not write (not root),
- when the clock is set back by a day in the middle: files are then dated in the future,
- when the memory that a process may use ends before the work does.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
import faulthandler
import importlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of torch do not survive a fork

from chaos_works import Work, small_model, works
from PIL import Image

import bcdseg
from bcdseg.errors import BcdsegError
from bcdseg.extras import disable_telemetry_of

REFUSED = 3  # exit status of a process whose work ended with one of the library's errors
ENDS = {0: "finished", REFUSED: "refused", 1: "ended by an exception"}  # by exit status
ABORTED = "ended by a signal"
NOBODY = 65534
CAPABILITIES = 0x20080522  # version of Linux's capset
DAY = 24 * 3600
PATIENCE = 600  # seconds, after which a process that hangs prints where it does, and is ended


@dataclass(frozen=True)
class Child:
    """A process that does work.

    Attributes:
        pid: Its id.
        output: File of what it prints.
    """

    pid: int
    output: Path

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def status(self) -> int:
        """Wait for its end, and return the exit status."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert status != -signal.SIGALRM, f"took longer than {PATIENCE} s: {self.printed()}"
        return status

    def printed(self) -> str:
        return self.output.read_text(errors="replace")


def forked(work: Callable[[], None], output: Path) -> Child:
    """Start a process that does work."""
    child = os.fork()
    if child:
        return Child(child, output)
    status = 1
    try:
        with output.open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        faulthandler.dump_traceback_later(PATIENCE)
        signal.alarm(PATIENCE + 5)
        work()
        status = 0
    except BcdsegError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        status = REFUSED
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def check_files(folder: Path) -> int:
    """Open each file that has its final name, and return their number; a file that is not whole raises an error."""
    files = [path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.parts)]
    for path in files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            rows = list(csv.reader(path.read_text().splitlines()))
            assert rows, f"{path}: is empty"
            assert len({len(row) for row in rows}) == 1, f"{path}: has rows of different lengths"
            assert path.read_text().endswith("\n"), f"{path}: ends in the middle of a row"
        elif path.name == "model.safetensors" and (path.parent / "config.json").exists():
            bcdseg.load(path.parent, runtime="torch")
        else:
            assert path.stat().st_size, f"{path}: is empty"
    return len(files)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of all files, also of hidden ones."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Trials:
    """Trials of one kind of work.

    Attributes:
        name: Name of the work.
        work: The work.
        place: Folder in which each trial has a folder of its own.
        rng: Random numbers of the moments.
    """

    name: str
    work: Work
    place: Path
    rng: random.Random

    def start(self, limits: int) -> None:
        """Do the work once without interruption, and with limits of memory, in processes that import what it uses themselves.

        Args:
            limits: Number of limits of memory.
        """
        whole, note = self._folder("whole"), self.place / "note"

        def run() -> None:
            modules, memory = set(sys.modules), _status("VmSize")
            self.work.run(whole)
            imported = [name for name in sys.modules if name not in modules]
            note.write_text(json.dumps({"modules": imported, "start": memory, "most": _status("VmPeak")}))

        child = self._started(run)
        assert child.status() == 0, child.printed()
        found = json.loads(note.read_text())
        self.modules = found["modules"]
        fractions = [self.rng.uniform(0.02, 0.9) for _ in range(limits)]
        sizes = [int(found["start"] + fraction * (found["most"] - found["start"])) for fraction in fractions]
        self.ends = [self._limited(number, size) for number, size in enumerate(sizes)]

    def measure(self) -> None:
        """Import what the work uses, and do it again to measure its time and to find which of its files always differ."""
        import_modules(self.modules)
        whole, again = self.place / "whole", self._folder("again")
        start = time.monotonic()
        self._finish(again)
        self.seconds = time.monotonic() - start
        self.expected, second = contents(whole), contents(again)
        assert self.expected.keys() == second.keys(), f"{self.name}: {sorted(self.expected.keys() ^ second.keys())}"
        self.varying = sorted(one for one in self.expected if self.expected[one] != second[one])

    def kill_often(self, kills: int) -> str:
        """Kill the work at random moments and resume it, and return a row of the first table."""
        killed = checked = 0
        for number in range(kills):
            folder = self._folder(f"killed-{number}")
            killed += self._kill(folder)
            checked += self._checked(folder)
            self._finish(folder)
            self._compare(folder)
        names = self.varying[:1] + [f"{len(self.varying) - 1} more"] * (len(self.varying) > 1)
        note = f"; differ between any two runs: {', '.join(names)}" if self.varying else ""
        return f"| {self.name} | {self.seconds:.1f} | {kills} | {killed} | {checked} | {len(self.expected)} the same{note} |"

    def two_writers(self) -> str:
        folder = self._folder("both")
        children = [forked(lambda: self.work.run(folder), self.place / f"log{number}") for number in range(2)]
        statuses = [child.status() for child in children]
        assert set(statuses) <= {0, REFUSED}, [child.printed() for child in children]
        checked = self._checked(folder)
        self._run(folder)
        return f"{2 - statuses.count(REFUSED)} of 2 finished, {checked} files whole"

    def full_disk(self) -> str:
        with self._small_disk("full", "200k") as disk:
            if disk is None:
                return "not run: mounting a disk is not permitted"
            status = self._run(disk)
            return f"{'refused' if status == REFUSED else 'fits'}, {check_files(disk)} files whole"

    def read_only(self) -> str:
        with self._small_disk("read-only", "1m") as disk:
            if disk is None:
                return "not run: mounting a disk is not permitted"
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            assert self._run(disk) == REFUSED
            return "refused"

    def no_rights(self) -> str:
        """Do the work as a user who may not write in the folder."""
        folder = self._folder("no-rights")
        folder.chmod(0o555)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)

        def run() -> None:
            drop_rights()
            self.work.run(folder)

        child = self._started(run)
        assert child.status() == REFUSED, child.printed()
        assert not contents(folder)
        return "refused"

    def clock_back(self) -> str:
        """Kill the work, date its files a day ahead as after a clock that was set back, and resume it."""
        folder = self._folder("clock")
        self._kill(folder)
        ahead = time.time() + DAY
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (ahead, ahead), follow_symlinks=False)
        self._finish(folder)
        self._compare(folder)
        return "the same files"

    def out_of_memory(self) -> str:
        """Do the work with too little memory, resume it with enough, and count how it had ended."""
        for number in range(len(self.ends)):
            folder = self.place / f"memory-{number}"
            self._checked(folder)
            self._finish(folder)
            self._compare(folder)
        counts = [f"{self.ends.count(end)} {end}" for end in (*ENDS.values(), ABORTED) if end in self.ends]
        return ", ".join(counts) + ", then the same files"

    def _limited(self, number: int, size: int) -> str:
        """Do the work with an address space of a size in bytes, and return how it ended."""
        folder = self._folder(f"memory-{number}")

        def run() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
            self.work.run(folder)

        return ENDS.get(self._started(run).status(), ABORTED)

    def _folder(self, name: str) -> Path:
        folder = self.place / name
        folder.mkdir()
        return folder

    def _started(self, run: Callable[[], None]) -> Child:
        return forked(run, self.place / "log")

    def _run(self, folder: Path) -> int:
        """Do the work in a folder, and return 0, or REFUSED where one of the library's errors ended it."""
        child = self._started(lambda: self.work.run(folder))
        status = child.status()
        assert status in (0, REFUSED), f"{self.name} in {folder.name} ended with {status}: {child.printed()}"
        return status

    def _finish(self, folder: Path) -> None:
        assert self._run(folder) == 0, f"{self.name} in {folder.name} was refused: {(self.place / 'log').read_text()}"

    def _kill(self, folder: Path) -> bool:
        """Start the work, kill it after a part of its time, and return whether it was still running."""
        child = self._started(lambda: self.work.run(folder))
        time.sleep(self.rng.uniform(0, self.seconds))
        child.kill()
        return child.status() == -signal.SIGKILL

    def _checked(self, folder: Path) -> int:
        """Check the files of interrupted work, and return their number."""
        self.work.check(folder)
        return check_files(folder)

    def _compare(self, folder: Path) -> None:
        """Check that the files are those of a run that nothing has interrupted."""
        found = contents(folder)
        assert found.keys() == self.expected.keys(), f"{self.name}: {sorted(found.keys() ^ self.expected.keys())}"
        other = [one for one in self.expected if one not in self.varying and found[one] != self.expected[one]]
        assert not other, f"{self.name} in {folder.name}: {other} are other files than without the interruption"
        self.work.check(folder)

    @contextlib.contextmanager
    def _small_disk(self, name: str, size: str) -> Iterator[Path | None]:
        """Mount a small disk in memory; None where that is not permitted."""
        folder = self._folder(name)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False)
        try:
            yield folder if mounted.returncode == 0 else None
        finally:
            if mounted.returncode == 0:
                subprocess.run(["umount", folder], check=True)


def import_modules(names: list[str]) -> None:
    """Import modules that a forked process has imported, with their telemetry disabled as the library does it."""
    for name in names:
        disable_telemetry_of(name.partition(".")[0])
        with contextlib.suppress(Exception):  # some exist only as an attribute of another, or while it is imported
            importlib.import_module(name)


def drop_rights() -> None:
    """Take all special rights from this process, so that root too may write only where permissions allow it."""
    header, rights = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, rights):
        raise OSError(ctypes.get_errno(), "the rights can't be dropped")


def _status(name: str) -> int:
    """Return a size of this process in bytes, as Linux states it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="kills of each kind of work")
    parser.add_argument("--memory-limits", type=int, default=3, help="limits of memory that are tried for each kind of work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="kinds of work; all by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["BCDSEG_CACHE"] = str(root / "cache")
        kinds = works(small_model().save(root / "model"))
        trials = []
        for name, work in kinds.items():
            if not options.only or name in options.only:
                (root / name).mkdir()
                trials.append(Trials(name, work, root / name, random.Random(f"{options.seed} {name}")))
        for one in trials:
            one.start(options.memory_limits)
        print("| work | seconds | kills | hit | files checked | files at the end |\n|---|---|---|---|---|---|")
        for one in trials:
            one.measure()
            print(one.kill_often(options.kills), flush=True)
        print("\n| work | two writers | full disk | read-only disk | folder of another user | clock set back | out of memory |")
        print("|---|---|---|---|---|---|---|")
        for one in trials:
            cells = [one.two_writers(), one.full_disk(), one.read_only(), one.no_rights(), one.clock_back()]
            print(f"| {' | '.join([one.name, *cells, one.out_of_memory()])} |", flush=True)


if __name__ == "__main__":
    main()
