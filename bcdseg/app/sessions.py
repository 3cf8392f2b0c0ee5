"""What each open page holds: its scans, in memory only, bounded, and let go."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from bcdseg.app.limits import MEBI, Limits
from bcdseg.app.scans import Scan
from bcdseg.errors import GoneError, LimitError
from bcdseg.infer.clip import ClipSummary, light, summarize_clip
from bcdseg.infer.output import table_rows
from bcdseg.infer.prediction import Failure, Prediction

OVER = (
    "The scans of this page are let go: it was idle for long, many others were opened, or the program was started anew. Reload it."
)


@dataclass(eq=False)
class Session:
    """One open page.

    Attributes:
        scans: By their id, in the order they came.
        rows: The line of each scan in the table, by model and scan.
        frames: The answer for each frame of a clip, without pixels, by model and scan.
        report: The evaluation report that is open.
        used: When it was last asked for anything.
    """

    scans: dict[str, Scan] = field(default_factory=dict)
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    frames: dict[tuple[str, str], Prediction | Failure] = field(default_factory=dict)
    report: bytes | None = None
    used: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def add(self, scans: Iterable[Scan], limits: Limits) -> None:
        """Hold more scans: all of them or none."""
        with self._lock:
            wanted = {**self.scans, **{scan.id: scan for scan in scans}}
            if len(wanted) > limits.scans:
                raise LimitError(f"The page holds {limits.scans} scans at most. Remove some, or use bcdseg predict for an archive.")
            held = {id(scan.content): len(scan.content) for scan in wanted.values()}
            if sum(held.values()) > limits.session_bytes:
                raise LimitError(f"The page holds {limits.session_bytes // MEBI} MB of scans at most. Remove some.")
            self.scans = wanted

    def keep(self, model: str, scan: Scan, answer: Prediction | Failure, classes: Sequence[str]) -> None:
        """What the table says of a scan, and, of a frame, its answer for the clip's summary."""
        with self._lock:
            self.rows[model, scan.id] = table_rows([answer], classes)[0]
            if scan.frame is not None:
                self.frames[model, scan.id] = answer if isinstance(answer, Failure) else replace(light(answer), mask=None)

    def clips(self, model: str) -> list[ClipSummary]:
        """What the frames of each clip say together, those that were answered."""
        answered: dict[int, list[Prediction | Failure]] = {}
        for key, scan in list(self.scans.items()):  # others may be removed meanwhile
            if (answer := self.frames.get((model, key))) is not None:
                answered.setdefault(id(scan.content), []).append(answer)
        return [summarize_clip(answers) for answers in answered.values()]

    def scan(self, key: str) -> Scan:
        """A scan by its id."""
        try:
            return self.scans[key]
        except KeyError:
            raise GoneError("This scan is not held any more: it was removed. Open it again.") from None

    def remove(self, key: str) -> None:
        """Let a scan go, and what is known of it."""
        with self._lock:
            self.scans.pop(key, None)
            self.rows = {place: row for place, row in self.rows.items() if place[1] != key}
            self.frames = {place: answer for place, answer in self.frames.items() if place[1] != key}


class Sessions:
    """The open pages, by tokens that nobody can guess."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = Lock()
        self._held: OrderedDict[str, Session] = OrderedDict()

    def open(self) -> str:
        """A new page; when too many are open, the one that was used longest ago is closed."""
        token = secrets.token_hex(16)
        with self._lock:
            self._held[token] = Session(used=time.monotonic())
            while len(self._held) > self.limits.sessions:
                self._held.popitem(last=False)
        return token

    def get(self, token: str) -> Session:
        """The page of a token."""
        self.sweep()
        with self._lock:
            if token not in self._held:
                raise GoneError(OVER)
            self._held.move_to_end(token)
            session = self._held[token]
            session.used = time.monotonic()
            return session

    def close(self, token: str) -> None:
        """Let a page's scans go."""
        with self._lock:
            self._held.pop(token, None)

    def sweep(self) -> None:
        """Let go what nobody has asked for in a long time."""
        latest = time.monotonic() - self.limits.idle_seconds
        with self._lock:
            for token in [token for token, session in self._held.items() if session.used < latest]:
                del self._held[token]

    def scan_ids(self) -> set[str]:
        """Of all scans that are held."""
        with self._lock:
            return {key for session in self._held.values() for key in session.scans}

    def __len__(self) -> int:
        return len(self._held)
