"""Status codes of the library's errors."""

from __future__ import annotations

from collections.abc import Mapping


def status_of(error: BaseException, statuses: Mapping[type[BaseException], int]) -> int | None:
    """Return the status code of the first class that an error belongs to, or None."""
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), None)
