"""Command-line arguments of the scripts of a comparison."""

from __future__ import annotations

import argparse
from pathlib import Path


def comparison_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the folder of the scans and the folder of the runs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    parser.add_argument("work", type=Path, help="folder of the runs")
    return parser


def encoder_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the same parser with an option for the encoder."""
    parser = comparison_parser(description)
    parser.add_argument("--encoder", default="tu-tf_efficientnet_lite0")
    return parser
