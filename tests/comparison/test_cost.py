"""Cost of a network whose size is not a valid input size."""

from __future__ import annotations

import pytest

import bcdseg
from bcdseg.comparison.store import gflops


def test_operations_are_those_of_the_input_with_its_padding() -> None:
    small, padded = (bcdseg.create("plain_cnn", classes=["a", "b"], size=size) for size in (48, 64))
    assert small.preprocessing.frame == padded.preprocessing.size
    assert gflops(small) == pytest.approx(gflops(padded)) != 0
