"""What models have seen in training, taken together: so that none made of them is measured on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bcdseg.model.model import Model

KINDS = ("contents", "fingerprints", "groups")
UNKNOWN = "unknown"


def all_seen(models: Iterable[Model], also: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[str]]:
    """The hashes that any of the models keeps as ``training["seen"]``, and others.

    Trained models that keep none are named under ``unknown``: what they have seen can't be refused. Empty when nothing was seen.
    """
    trained = [model for model in models if model.training]
    each = [model.training.get("seen", {UNKNOWN: [model.name]}) for model in trained] + ([also] if also else [])
    kinds = [*KINDS, *([UNKNOWN] if any(UNKNOWN in seen for seen in each) else [])]
    return {kind: sorted({one for seen in each for one in seen.get(kind, ())}) for kind in kinds} if each else {}
