"""Train and predict everything that a release is judged by: each hospital left out, and each fold of all hospitals left out.

    python training/hospitals/pack.py BUSI_NATIVE BUS_BRA BUS_UCLM SMALL.npz --side 192
    python training/hospitals/all_runs.py SMALL.npz RUNS --seconds 600         # on a GPU, where there is one
    python training/hospitals/choose_rules.py SMALL.npz RUNS --intervals

The packed file (less than 64 MiB) is all that the machine needs beside the repository; scans are augmented on its GPU. Finished
runs are skipped, a run that was stopped resumes, and when the time is over the current run is stopped after its last checkpoint:
call it again to go on. Options after ``--`` go to every training.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from pack import FOLDS, HOSPITALS

SCRIPTS = Path(__file__).parent
STEPS = ["--stages", "128", "1100", "160", "250"]
RELEASE_STEPS = ["--stages", "128", "2600", "160", "1400"]


def all_runs() -> dict[str, tuple[list[str], list[str]]]:
    """Name of each run, what it leaves out, and its stages: the left-out hospitals first."""
    hospitals = {f"loho-{name}": (["--leave-out", name, "--fold", "0"], STEPS) for name in HOSPITALS}
    folds = {f"fold-{number}": (["--fold", str(number)], RELEASE_STEPS) for number in range(1, FOLDS)}
    return {**hospitals, "release": (["--release", "--fold", "0"], RELEASE_STEPS), **folds}


def finish(packed: Path, run: Path, left_out: list[str], stages: list[str], options: list[str], until: float) -> bool:
    """Train and predict one run, as far as the time allows, and return whether it is finished."""
    train = [sys.executable, SCRIPTS / "train.py", packed, run, *left_out, *stages, *options]
    predict = [
        sys.executable,
        SCRIPTS / "predict.py",
        packed,
        run,
        *(one for one in left_out if one != "--release"),
        "--sizes",
        "160",
    ]
    for made, command in ((run / "network.safetensors", train), (run / "outputs-160.npz", predict)):
        if made.exists():
            continue
        try:
            subprocess.run(list(map(str, command)), check=True, timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
    return True


def _divided(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Divide arguments into those before and after ``--``."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time after which the current run is stopped")
    parser.add_argument("--only", nargs="+", choices=list(all_runs()), default=list(all_runs()), help="some of the runs")
    own, passed = _divided(sys.argv[1:])
    options = parser.parse_args(own)
    until = time.monotonic() + options.seconds
    for name in options.only:
        start = time.monotonic()
        done = finish(options.packed, options.runs / name, *all_runs()[name], passed, until)
        print(f"{name}: {'finished' if done else 'stopped'} after {time.monotonic() - start:.0f} s", flush=True)
        if not done:
            break


if __name__ == "__main__":
    main()
