"""Converted graphs, kept in the user's cache folder under the hash of all they depend on.

A file is written whole or not at all, and carries its own checksum: one that is damaged counts as missing and is made anew.
Processes that start at once may each make a graph; the last one to finish leaves its file, and all are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from bcdseg.data.cache_folder import cache_folder
from bcdseg.errors import OutputError
from bcdseg.files import write_whole

CHECKSUM = 32  # bytes at the start of each file


def graph_key(parts: Iterable[bytes]) -> str:
    """One name for everything that a graph depends on."""
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def read_graph(key: str) -> bytes | None:
    """What is kept under a key; None when there is nothing whole."""
    try:
        content = _path(key).read_bytes()
    except OSError:
        return None
    return content[CHECKSUM:] if content[:CHECKSUM] == _checksum(content[CHECKSUM:]) else None


def keep_graph(key: str, content: bytes) -> None:
    """Keep it for later processes. Where nothing can be written, nothing is kept."""
    try:
        write_whole(_path(key), _checksum(content) + content, overwrite=True)
    except OutputError:
        return


def _path(key: str) -> Path:
    return cache_folder() / "graphs" / key


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=CHECKSUM).digest()
