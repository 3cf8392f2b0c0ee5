"""The sample scans that come with the package."""

from __future__ import annotations

from collections import Counter

import bcdseg


def test_sample_scans_open_as_a_data_set_with_six_scans_of_each_class() -> None:
    data = bcdseg.open_dataset(bcdseg.sample_scans())
    assert Counter(sample.label for sample in data) == {"benign": 6, "malignant": 6, "normal": 6}
    assert all(sample.masks for sample in data)
