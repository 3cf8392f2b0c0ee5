"""Fuzz the readers: python -m fuzz [TARGET ...] --seconds 60."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from fuzz.loop import run, run_here

NAMES = ("images", "dicom", "tables", "splits", "configs", "models", "serve", "app")


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=(*NAMES, []), help="readers to fuzz; all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each reader")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="folder for files that fail")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(asdict(run_here(options.targets[0], options.seconds, options.seed, options.out))))
        return 0
    failed = 0
    for name in options.targets or NAMES:
        report = run(name, options.seconds, options.seed, options.out / name)
        print(f"{name}: {report}", flush=True)
        failed += len(report.failures)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
