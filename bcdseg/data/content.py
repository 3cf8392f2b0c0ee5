"""What a picture shows, as a short hash: the same for two files that decode to the same pixels."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from bcdseg.data.images import read_image
from bcdseg.data.once_per_file import once_per_file


@once_per_file
def content_hash(path: Path) -> str:
    """Hash of the decoded pixels and their shape (BLAKE2b, 128 bits, hexadecimal).

    A file that was renamed, or saved again without loss (PNG to BMP, other compression, gray as three equal channels),
    keeps its hash; one changed pixel changes it. Lossy copies (JPEG of a PNG) get another: finding those is the audit's work.
    """
    pixels = read_image(path)
    if pixels.ndim == 3 and (pixels[..., :1] == pixels).all():
        pixels = pixels[..., 0]
    digest = blake2b(f"{pixels.dtype.name} {pixels.shape} ".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()
