"""Mutations of files: of their bytes, and of the parts that their format is made of."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
INTEGERS = ("<B", "<H", ">H", "<L", ">L", "<Q", ">Q")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 2**31, 2**63, 10**30, "", " ", "none", "nan",
    "0", "-1", "1e999", "\0", "\ud800", "..", "/etc/passwd", "=1+1", "é" * 300, "x" * 5000, [], {}, [[]], [None], ["a", "a"],
    [1, 2, 3], [0.0], {"a": 1}, "benign", "mobilenet_v2", "tu-resnet18",
)  # fmt: skip
COUNTS = (1, 1, 1, 2, 4)  # mutations of a file
LONGEST = 200_000


def mutate(content: bytes, random: Random, mutations: Sequence[Mutation]) -> bytes:
    """Return a copy of a file that was changed once or a few times."""
    for _ in range(random.choice(COUNTS)):
        content = random.choice(mutations)(content, random)
    return content[:LONGEST]


def flip_bit(content: bytes, random: Random) -> bytes:
    changed = bytearray(content or b"\0")
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def replace_number(content: bytes, random: Random) -> bytes:
    form = random.choice(INTEGERS)
    size = struct.calcsize(form)
    place = random.randrange(max(1, len(content) - size))
    number = random.choice(NUMBERS) & (256**size - 1)
    return content[:place] + struct.pack(form, number) + content[place + size :]


def truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def remove_range(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + content[end:]


def repeat_range(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:end] + content[start:end] * random.choice((1, 2, 50)) + content[end:]


def insert_bytes(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + random.randbytes(random.choice((1, 2, 4, 30))) + content[place:]


def overwrite_bytes(content: bytes, random: Random) -> bytes:
    start, end = _range(content, random)
    return content[:start] + random.choice((b"\0", b"\xff", random.randbytes(1))) * (end - start) + content[end:]


def _range(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 2, 4, 16, 64, 1000)))


BYTES: tuple[Mutation, ...] = (
    flip_bit,
    flip_bit,
    replace_number,
    replace_number,
    truncate,
    remove_range,
    repeat_range,
    insert_bytes,
    overwrite_bytes,
)


def change_png_chunk(content: bytes, random: Random) -> bytes:
    """Change a chunk of a PNG, and make its checksum fit; pixels are changed before their compression."""
    chunks = _png_chunks(content)
    if not chunks:
        return flip_bit(content, random)
    at = random.randrange(len(chunks))
    kind, data = chunks[at]
    pixels = _inflated(data) if kind == b"IDAT" and random.random() < 0.7 else b""
    data = zlib.compress(mutate(pixels, random, BYTES)) if pixels else mutate(data, random, BYTES)
    chunks[at] = (kind, data)
    if random.random() < 0.2:
        chunks.insert(random.randrange(len(chunks)), random.choice(chunks))
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, LONGEST)
    except zlib.error:
        return b""


def _png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while content.startswith(b"\x89PNG") and place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return chunks


def change_tiff_entry(content: bytes, random: Random) -> bytes:
    """Change type, count or value of an entry in the first directory of a TIFF."""
    if content[:4] != b"II*\0" or len(content) < 8:
        return replace_number(content, random)
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    if not count or start + 2 + 12 * count > len(content):
        return replace_number(content, random)
    place = start + 2 + 12 * random.randrange(count) + random.choice((0, 2, 4, 8))
    size = 2 if (place - start - 2) % 12 < 4 else 4
    number = random.choice((*NUMBERS, random.randrange(300))) & (256**size - 1)
    return content[:place] + number.to_bytes(size, "little") + content[place + size :]


LONG_FORMS = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"UC", b"UR")
DICOM_TEXTS = (b"", b"0 ", b"-1", b"1e308 ", b"nan ", b"\\\\\\ ", b"1\\2\\3 ", b"99999999", b"x" * 2000, b"\xff\xfe")


def change_dicom_element(content: bytes, random: Random) -> bytes:
    """Change, remove or repeat an element of an explicit little-endian DICOM file, and keep its length right."""
    elements = _dicom_elements(content)
    if not elements:
        return replace_number(content, random)
    start, value, end = random.choice(elements)
    action = random.randrange(4)
    if action == 0:
        return content[:start] + content[end:]
    if action == 1:
        return content[:end] + content[start:end] + content[end:]
    if action == 2:
        kind = random.choice((b"US", b"SS", b"DS", b"IS", b"SQ", b"UN", b"OB", b"FD", b"CS", b"zz"))
        return content[: start + 4] + kind + content[start + 6 :]
    old = content[value:end]
    new = random.choice((*DICOM_TEXTS, mutate(old, random, BYTES)))
    new += b"\0" * (len(new) % 2)
    length = struct.pack("<L", len(new)) if value - start == 12 else struct.pack("<H", len(new) & 0xFFFF)
    return content[: value - len(length)] + length + new + content[end:]


def _dicom_elements(content: bytes) -> list[tuple[int, int, int]]:
    """Return start, start of the value, and end of each element, as far as they can be followed."""
    found, place = [], 132
    while place + 12 <= len(content):
        long = content[place + 4 : place + 6] in LONG_FORMS
        value = place + (12 if long else 8)
        length = int.from_bytes(content[value - (4 if long else 2) : value], "little")
        end = value + length
        if end > len(content):
            break
        found.append((place, value, end))
        place = end
    return found


def change_json(content: bytes, random: Random) -> bytes:
    """Replace, remove or add a value anywhere in a JSON document."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return flip_bit(content, random)
    places = list(_places(document))
    if not places:
        return json.dumps(random.choice(VALUES)).encode()
    holder, key = random.choice(places)
    action = random.random()
    if action < 0.15:
        del holder[key]
    elif action < 0.25:
        holder[key] = [holder[key]] * random.choice((1, 2, 1000))
    elif action < 0.35 and isinstance(holder, dict):
        holder[random.choice(("extra", "", "size", "name"))] = random.choice(VALUES)
    else:
        holder[key] = random.choice(VALUES)
    try:
        return json.dumps(document).encode()
    except (ValueError, RecursionError):
        return content


def nest_json(content: bytes, random: Random) -> bytes:
    """Put a JSON value thousands of lists deep."""
    depth = random.choice((100, 1500, 5000))
    place = content.find(b":", random.randrange(len(content) + 1)) + 1
    return content[:place] + b"[" * depth + (b"]" * depth if random.random() < 0.5 else b"") + content[place:]


def _places(document: Any) -> list[tuple[Any, Any]]:
    found, waiting = [], [document]
    while waiting and len(found) < 5000:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def change_cell(content: bytes, random: Random) -> bytes:
    """Change a cell, a row or the header of a CSV table."""
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")) if row] or [[""]]
    except csv.Error:
        return flip_bit(content, random)
    row = random.choice(rows)
    action = random.randrange(5)
    if action == 0:
        row.insert(random.randrange(len(row) + 1), _text(random))
    elif action == 1:
        del row[random.randrange(len(row))]
    elif action == 2:
        rows.insert(random.randrange(len(rows) + 1), list(random.choice(rows)))
    else:
        row[random.randrange(len(row))] = _text(random)
    written = io.StringIO()
    csv.writer(written, delimiter=random.choice((",", ",", ",", ";", "\t"))).writerows(rows)
    return written.getvalue().encode("utf-8", "replace")


def change_line(content: bytes, random: Random) -> bytes:
    """Change the value of a line of a TOML or YAML file, or of a header of a request."""
    lines = content.split(b"\n")
    at = random.randrange(len(lines))
    name, mark, _ = lines[at].partition(b"=" if b"=" in lines[at] else b":")
    action = random.randrange(4)
    if action == 0:
        lines.insert(at, random.choice(lines))
    elif action == 1:
        del lines[at]
    else:
        value = random.choice(VALUES)
        text = json.dumps(value) if random.random() < 0.7 else str(value)
        lines[at] = name + mark + b" " + text.encode("utf-8", "replace")
    return b"\n".join(lines)


def _text(random: Random) -> str:
    value = random.choice(VALUES)
    return value if isinstance(value, str) else str(value)
