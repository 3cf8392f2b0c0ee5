"""What the scripts of a comparison are asked."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser(description: str | None) -> argparse.ArgumentParser:
    """Where the scans are, and where the runs are kept."""
    asked = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    asked.add_argument("work", type=Path, help="where the runs are kept")
    return asked


def parser_for_one(description: str | None) -> argparse.ArgumentParser:
    """The same, and which encoder."""
    asked = parser(description)
    asked.add_argument("--encoder", default="tu-tf_efficientnet_lite0")
    return asked
