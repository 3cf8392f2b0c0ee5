"""Train and predict all runs for the evaluation of a release: each hospital left out, and each fold of all hospitals left out.

    python training/hospitals/pack.py BUSI_NATIVE BUS_BRA BUS_UCLM SMALL.npz --side 192
    python training/hospitals/all_runs.py SMALL.npz RUNS --seconds 600         # on a GPU, where there is one
    python training/hospitals/choose_rules.py SMALL.npz RUNS --intervals
    python training/hospitals/all_runs.py SMALL.npz RUNS --means --only loho-bus-bra loho-bus-uclm loho-busi

With ``--means``, each network is trained for 600 more steps at a constant rate in ``RUNS/further``, and the mean of the weights
before and after is written to ``RUNS/means``, with its outputs. With ``--second-teacher``, it is trained further in ``RUNS/taught``
by itself and by a MobileNetV2 of its own steps in ``RUNS/mobilenetv2``, and the mean is written to ``RUNS/taught-means``.

The packed file (less than 64 MiB) is all that the machine needs besides the repository; scans are augmented on its GPU. Finished
runs are skipped, a run that was stopped resumes, and when the time is over the current run is stopped after its last checkpoint:
call it again to resume. Options after ``--`` go to every training.
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
FURTHER = ["--constant", "--lr", "5e-4", "--average", "0.998", "--stages", "160", "600", "--seed", "1"]
NETWORK, OUTPUTS = "network.safetensors", "outputs-160.npz"


def all_runs() -> dict[str, tuple[list[str], list[str]]]:
    """Return what each run leaves out, and its stages, by the name of the run: the left-out hospitals first."""
    hospitals = {f"loho-{name}": (["--leave-out", name, "--fold", "0"], STEPS) for name in HOSPITALS}
    folds = {f"fold-{number}": (["--fold", str(number)], RELEASE_STEPS) for number in range(1, FOLDS)}
    return {**hospitals, "release": (["--release", "--fold", "0"], RELEASE_STEPS), **folds}


def commands(
    packed: Path, runs: Path, name: str, options: list[str], *, means: bool, second_teacher: Path | None
) -> dict[Path, list[str | Path]]:
    """Files of a run and the commands that make them, in order: script and arguments."""
    left_out, stages = all_runs()[name]
    run, other = runs / name, runs / "mobilenetv2" / name
    unseen = [*(one for one in left_out if one != "--release"), "--sizes", "160"]
    found: dict[Path, list[str | Path]] = {
        run / NETWORK: ["train.py", packed, run, *left_out, *stages, *options],
        run / OUTPUTS: ["predict.py", packed, run, *unseen],
    }
    trained_further: list[tuple[str, str, list[str | Path]]] = []
    if means:
        trained_further.append(("further", "means", []))
    if second_teacher is not None:
        of_encoder = ["--encoder", "mobilenet_v2", "--start", second_teacher, "--bf16"]
        found |= {
            other / NETWORK: ["train.py", packed, other, *left_out, *of_encoder, *stages, *options],
            other / OUTPUTS: ["predict.py", packed, other, *unseen],
        }
        trained_further.append(("taught", "taught-means", ["--teachers", run / NETWORK, other / NETWORK]))
    for folder, of_means, teachers in trained_further:
        further, mean = runs / folder / name, runs / of_means / name
        start = ["--start", run / NETWORK, *teachers]
        found |= {
            further / NETWORK: ["train.py", packed, further, *left_out, *start, *FURTHER, *options],
            mean / NETWORK: ["average.py", run, further, "--out", mean],
            mean / OUTPUTS: ["predict.py", packed, mean, *unseen],
        }
    return found


def finish(made: dict[Path, list[str | Path]], until: float) -> bool:
    """Make the missing files, as far as the time allows, and return whether all exist."""
    for path, (script, *arguments) in made.items():
        if path.exists():
            continue
        command = [sys.executable, SCRIPTS / script, *arguments]
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
    parser.add_argument("--means", action="store_true", help="train each network further, and average before and after")
    parser.add_argument(
        "--second-teacher",
        type=Path,
        metavar="MOBILENET.pth",
        help="train each network further by a MobileNetV2 with these weights",
    )
    own, passed = _divided(sys.argv[1:])
    options = parser.parse_args(own)
    until = time.monotonic() + options.seconds
    for name in options.only:
        start = time.monotonic()
        made = commands(options.packed, options.runs, name, passed, means=options.means, second_teacher=options.second_teacher)
        done = finish(made, until)
        print(f"{name}: {'finished' if done else 'stopped'} after {time.monotonic() - start:.0f} s", flush=True)
        if not done:
            break


if __name__ == "__main__":
    main()
