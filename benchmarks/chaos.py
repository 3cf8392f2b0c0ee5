"""Work that is killed at random moments, written by two processes at once, or written to a full or read-only disk.

    python benchmarks/chaos.py --kills 50

Each kind of work runs in a forked process that is killed with SIGKILL after a random part of the time that it takes. After each
kill no file may be half-written; then the work is resumed, or done again, and its files must be those of a run that was not killed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

import bcdseg
from bcdseg.errors import BcdsegError

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
CLASSES = ["normal", "benign", "malignant"]
REFUSED = 3  # exit status of a process whose work was refused with one of the library's errors


Work = Callable[[Path], None]
"""Function that does work in a folder, or resumes it there."""


def command(*arguments: object) -> None:
    from bcdseg.cli import app

    app([str(one) for one in arguments], standalone_mode=False)


def small_model() -> bcdseg.Model:
    return bcdseg.create("plain_cnn", classes=CLASSES, size=32, decoder_channels=(8, 8, 8, 8, 8), seed=0)


def works(model: Path) -> dict[str, Work]:
    def predict(folder: Path) -> None:
        command("predict", SAMPLE, "--model", model, "--out", folder / "out", *(["--resume"] if (folder / "out").exists() else []))

    def train(folder: Path) -> None:
        data, run = bcdseg.open_dataset(SAMPLE), folder / "run"
        held_out = [one for at, one in enumerate(data.ids) if not at % 4]
        parts = data.select(set(data.ids) - set(held_out)), data.select(held_out)
        options: dict[str, Any] = {
            "epochs": 3,
            "batch_size": 4,
            "workers": 0,
            "calibrate": False,
            "pictures": False,
            "device": "cpu",
        }
        bcdseg.fit(small_model(), *parts, out=run, **({"resume": True} if run.exists() else {**options, "progress": False}))

    def evaluate(folder: Path) -> None:
        command("evaluate", model, SAMPLE, "--out", folder / "report", "--draws", 20, "--overwrite")

    def audit(folder: Path) -> None:
        with contextlib.suppress(SystemExit):  # its status says whether something was found
            command("audit", SAMPLE, "--out", folder / "audit", "--overwrite")

    def export(folder: Path) -> None:
        command("export", model, "--out", folder / "model.onnx", "--overwrite")

    def save(folder: Path) -> None:
        saved = bcdseg.load(model, runtime="torch")
        for threshold in (0.3, 0.4, 0.5):
            saved.rules = bcdseg.Rules(threshold=threshold)
            saved.save(folder / "saved", overwrite=True)

    return {"predict": predict, "train": train, "evaluate": evaluate, "audit": audit, "export": export, "save": save}


def forked(work: Callable[[], None], output: Path) -> int:
    """Start a process that does work, and return its id. Its exit status is REFUSED after an error of the library."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with output.open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
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


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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


def kill_often(name: str, work: Work, kills: int, place: Path, rng: random.Random) -> str:
    """Kill work at random moments, resume it, and return a row of the table."""
    whole = place / "whole"
    whole.mkdir()
    start = time.monotonic()
    status = status_of(forked(lambda: work(whole), place / "log"))
    seconds = time.monotonic() - start
    assert status == 0, (place / "log").read_text()
    again = place / "again"
    again.mkdir()
    assert status_of(forked(lambda: work(again), place / "log")) == 0
    expected, second = contents(whole), contents(again)
    varying = {one for one in expected if expected[one] != second.get(one)}
    killed = checked = 0
    for number in range(kills):
        folder = place / str(number)
        folder.mkdir()
        child = forked(lambda folder=folder: work(folder), place / "log")
        time.sleep(rng.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        killed += status_of(child) == -signal.SIGKILL
        checked += check_files(folder)
        status = status_of(forked(lambda folder=folder: work(folder), place / "log"))
        assert status == 0, f"{name} after kill {number}: {(place / 'log').read_text()}"
        found = contents(folder)
        assert found.keys() == expected.keys(), f"{name}: {sorted(found.keys() ^ expected.keys())}"
        other = [one for one in expected if one not in varying and found[one] != expected[one]]
        assert not other, f"{name}: {other} are other files than without the kill"
    note = f"; differs between any two runs: {', '.join(sorted(varying))}" if varying else ""
    return f"| {name} | {seconds:.1f} | {kills} | {killed} | {checked} | {len(expected)} the same{note} |"


def two_writers(work: Work, place: Path) -> str:
    """Do the same work twice at the same time in the same folder."""
    folder = place / "both"
    folder.mkdir()
    children = [forked(lambda: work(folder), place / f"log{number}") for number in range(2)]
    statuses = sorted(map(status_of, children))
    assert statuses in ([0, 0], [0, REFUSED], [REFUSED, REFUSED]), [(place / f"log{one}").read_text() for one in range(2)]
    checked = check_files(folder)
    status = status_of(forked(lambda: work(folder), place / "log"))
    assert status in (0, REFUSED), (place / "log").read_text()
    return f"{2 - statuses.count(REFUSED)} of 2 finished, {checked} files whole"


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path | None]:
    """Mount a small disk in memory; None where that is not permitted."""
    folder = place / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False)
    try:
        yield folder if mounted.returncode == 0 else None
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)


def full_disk(work: Work, place: Path, size: str = "200k") -> str:
    with small_disk(place, size) as disk:
        if disk is None:
            return "not run: mounting a disk is not permitted"
        status = status_of(forked(lambda: work(disk), place / "log"))
        assert status in (0, REFUSED), (place / "log").read_text()
        return f"{'refused' if status == REFUSED else 'fits'}, {check_files(disk)} files whole"


def read_only(work: Work, place: Path) -> str:
    with small_disk(place, "1m") as disk:
        if disk is None:
            return "not run: mounting a disk is not permitted"
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        status = status_of(forked(lambda: work(disk), place / "log"))
        assert status == REFUSED, (place / "log").read_text()
        return "refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="kills of each kind of work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="kinds of work; all by default")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        all_works = works(small_model().save(root / "model"))
        chosen = {name: work for name, work in all_works.items() if not options.only or name in options.only}
        print("| work | seconds | kills | hit | files checked | files at the end |\n|---|---|---|---|---|---|")
        for name, work in chosen.items():
            (root / name).mkdir()
            print(kill_often(name, work, options.kills, root / name, rng), flush=True)
        print("\n| work | two writers | full disk | read-only disk |\n|---|---|---|---|")
        for name, work in chosen.items():
            cells = []
            for number, trial in enumerate((two_writers, full_disk, read_only)):
                place = root / f"{name}-{number}"
                place.mkdir()
                cells.append(trial(work, place))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
