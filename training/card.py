"""Content of the bundled model's card: the text of ``card.toml``, the figures of the reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports import figures
from scans import Scans

from bcdseg.training.config import from_toml

TEXT = Path(__file__).parent / "card.toml"


def card_content(scans: Scans, report: Path, native: Path) -> dict[str, Any]:
    """Return the content of the card apart from the model's own configuration."""
    card: dict[str, Any] = from_toml(TEXT.read_text(encoding="utf-8"))
    measured = json.loads(report.read_text(encoding="utf-8"))["dataset"]
    counts = {**measured["classes"], "all": measured["scans"], "dropped": scans.dropped, "kept": len(scans.all)}
    card |= {name: card[name].format(**counts) for name in ("data", "measured on")}
    title, at_own_size = next(iter(figures(native, ("dice",)).items()))
    card["figures"] = {**figures(report), f"{title}, the same scans at their own size": at_own_size}
    return card
