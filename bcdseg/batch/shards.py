"""Shards of an archive: parts of its files for machines that share nothing but the archive."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from bcdseg.errors import OptionError


@dataclass(frozen=True)
class Shard:
    """One of several parts of the files.

    The name of a file determines its part. So machines agree on the parts even when files arrive between their starts, no file is
    predicted twice, and none is lost. The parts have about the same size, not exactly.

    Attributes:
        index: Number of the part, counted from 1.
        count: Number of parts.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``.

        Raises:
            OptionError: It is not two whole numbers, or there is no such part.
        """
        numbers = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
            raise OptionError(f"shard={text!r} is not possible: write the part and the number of parts, such as 2/8.")
        return cls(int(numbers[1]), int(numbers[2]))

    def __contains__(self, file: object) -> bool:
        digest = blake2b(str(file).encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
