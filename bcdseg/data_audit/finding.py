"""Findings of an audit."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[int, int, int, int]
"""Top, left, bottom and right, in pixels of the scan; bottom and right are exclusive."""


@dataclass(frozen=True)
class Finding:
    """One finding that a person should check.

    Attributes:
        kind: Kind of the finding in two or three words, the same for all of its kind.
        sample_ids: Ids of the affected scans; empty when the finding concerns the whole set.
        message: Description in one sentence.
        where: Position in the scan, where there is one.
        value: Number behind the finding (a Dice, an AUC, a fraction), where there is one.
    """

    kind: str
    sample_ids: tuple[str, ...]
    message: str
    where: Box | None = None
    value: float | None = None
