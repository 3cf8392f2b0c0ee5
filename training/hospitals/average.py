"""Write the mean of the weights of two runs as a third one (Wortsman et al., Model soups, ICML 2022).

    python training/hospitals/average.py RUNS/loho-bus-bra RUNS/flat-bus-bra RUNS/mean-bus-bra

The second run must have started from the weights of the first: only then are the networks in one basin of the loss.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

State = dict[str, Tensor]
NETWORK = "network.safetensors"


def mean_of(first: State, second: State) -> State:
    """Return the mean of two networks' weights; counters are those of the first."""
    return {name: (value + second[name]) / 2 if value.is_floating_point() else value for name, value in first.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("out", type=Path, help="folder of the new run")
    options = parser.parse_args()
    with safe_open(options.first / NETWORK, framework="pt") as file:
        notes = file.metadata()
    mean = mean_of(load_file(options.first / NETWORK), load_file(options.second / NETWORK))
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(mean, options.out / NETWORK, notes)


if __name__ == "__main__":
    main()
