"""Copies of a scan have nearly its fingerprint, other scans don't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_dicom import dicom, region, save
from made_twins import scan, twin
from PIL import Image

from bcdseg.data.hashing import BITS, NEAR, differing_bits, fingerprint, fingerprint_of
from bcdseg.errors import ImageNotFoundError

SCANS = [scan(seed) for seed in range(12)]


@pytest.mark.parametrize("kind", ["resized", "mirrored", "recompressed", "calipers", "text"])
def test_a_copy_is_near_its_scan(kind: str) -> None:
    copies = [fingerprint_of(twin(one, (kind,), np.random.default_rng(at))) for at, one in enumerate(SCANS)]
    for at, one in enumerate(SCANS):
        assert differing_bits([copies[at]], [fingerprint_of(one)])[0] <= NEAR


def test_other_scans_are_far_from_each_other() -> None:
    prints = [fingerprint_of(one) for one in SCANS]
    assert differing_bits(prints, prints).tolist() == [0] * len(SCANS)
    for at, one in enumerate(prints):
        assert NEAR + 20 < differing_bits([one], prints[:at] + prints[at + 1 :])[0] <= BITS


def test_bits_are_counted_one_by_one() -> None:
    """Compare with the definition: the nearest of all, each unchanged or with the signs of its odd horizontal waves turned."""
    prints = [fingerprint_of(one) for one in SCANS]
    mirrored = [fingerprint_of(one[:, ::-1]) for one in SCANS]

    def apart(one: str, other: str) -> int:
        return (int(one, 16) ^ int(other, 16)).bit_count()

    for one in prints[:4]:
        expected = min(apart(one, other) for other in prints[4:] + mirrored[4:])
        assert differing_bits([one], prints[4:])[0] == expected


def test_nothing_is_near_nothing() -> None:
    assert differing_bits([], [fingerprint_of(SCANS[0])]).tolist() == []
    assert differing_bits([fingerprint_of(SCANS[0])], []).tolist() == [BITS]


def test_a_dicom_frame_has_the_fingerprint_of_the_scan_in_it(tmp_path: Path) -> None:
    frame = np.full((400, 500), 90, np.uint8)
    frame[80:336, 120:376] = SCANS[0]
    Image.fromarray(SCANS[0]).save(tmp_path / "cut.png")
    path = save(dicom(frame, region((80, 120, 336, 376))), tmp_path / "frame.dcm")
    assert fingerprint(path) == fingerprint(tmp_path / "cut.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError, match=r"none\.png: no such file"):
        fingerprint(tmp_path / "none.png")


def test_a_file_that_is_replaced_gets_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    Image.fromarray(SCANS[0]).save(path)
    before = fingerprint(path)
    Image.fromarray(SCANS[1][:200]).save(path)
    assert fingerprint(path) != before
