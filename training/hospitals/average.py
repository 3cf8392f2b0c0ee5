"""Write the mean of the weights of several runs as a run of its own (Wortsman et al., Model soups, ICML 2022).

    python training/hospitals/average.py RUNS/loho-bus-bra RUNS/further/loho-bus-bra --out RUNS/means/loho-bus-bra

Each run after the first must have started from the weights of the first: only then are the networks in one basin of the loss.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

State = dict[str, Tensor]
NETWORK = "network.safetensors"


def mean_of(states: Sequence[State]) -> State:
    """Return the mean of networks' weights; counters are those of the first."""
    first = states[0]
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in first.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new run")
    options = parser.parse_args()
    with safe_open(options.runs[0] / NETWORK, framework="pt") as file:
        notes = file.metadata()
    mean = mean_of([load_file(run / NETWORK) for run in options.runs])
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(mean, options.out / NETWORK, notes)


if __name__ == "__main__":
    main()
