"""What a picture shows, as a short hash: the same for two files that decode to the same pixels."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from os import PathLike
from pathlib import Path

from bcdseg.data.images import read_image


def content_hash(path: str | PathLike[str]) -> str:
    """Hash of the decoded pixels and their shape (BLAKE2b, 128 bits, hexadecimal).

    A file that was renamed, or saved again without loss (PNG to BMP, other compression, gray as three equal channels),
    keeps its hash; one changed pixel changes it. Lossy copies (JPEG of a PNG) get another: finding those is the audit's work.
    Hashes are kept in memory until the file's size or time of change is another.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except FileNotFoundError:
        read_image(path)  # raises the error that says what to do
        raise
    return _hash(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=200_000)
def _hash(path: Path, _changed: int, _size: int) -> str:
    pixels = read_image(path)
    if pixels.ndim == 3 and (pixels[..., :1] == pixels).all():
        pixels = pixels[..., 0]
    digest = blake2b(f"{pixels.dtype.name} {pixels.shape} ".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()
