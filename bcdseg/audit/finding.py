"""A finding of an audit."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[int, int, int, int]
"""Top, left, bottom, right, in pixels of the scan; bottom and right are the first pixels that are outside."""


@dataclass(frozen=True)
class Finding:
    """One thing that a person should look at.

    Attributes:
        kind: What it is, in two or three words; the same words for all of its kind.
        sample_ids: The scans that it is about; empty when it is about the whole set.
        message: A sentence.
        where: The place in the scan, where there is one.
        value: The number behind it (a Dice, an AUC, a share), where there is one.
    """

    kind: str
    sample_ids: tuple[str, ...]
    message: str
    where: Box | None = None
    value: float | None = None
