"""Croissant metadata, read by mlcroissant."""

from __future__ import annotations

import warnings
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from made import busi

import bcdseg
from bcdseg.errors import OptionError, OutputExistsError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies
    import mlcroissant

ABOUT = {"description": "Drawn scans.", "license": "https://creativecommons.org/licenses/by/4.0/", "url": "https://example.org"}
ABOUT |= {"citeAs": "Drawn by a test.", "datePublished": "2026-01-01", "version": "1.0.0"}


@pytest.mark.filterwarnings("ignore")  # of mlcroissant's dependencies
def test_mlcroissant_reads_the_samples_and_their_split(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(busi(tmp_path / "busi", (2, 2, 2)))
    data = replace(data, samples=tuple(replace(one, facts={"device": "A"}, spacing=(0.1, 0.2)) for one in data))
    split = bcdseg.Split(data.select(data.ids[:3]), data.select([]), data.select(data.ids[3:]), 0, (0.5, 0, 0.5))
    files = data.to_croissant(data[0].image.parents[1], split=split, **ABOUT)
    assert [one.name for one in files] == ["samples.csv", "croissant.json"]
    croissant = mlcroissant.Dataset(str(files[1]))
    assert not croissant.metadata.ctx.issues.errors
    assert not croissant.metadata.ctx.issues.warnings
    assert (croissant.metadata.name, croissant.metadata.description) == (data.name, ABOUT["description"])
    records = [{name.removeprefix("samples/"): value for name, value in one.items()} for one in croissant.records("samples")]
    assert [one["id"] for one in records] == [name.encode() for name in data.ids]
    for record, sample in zip(records, data, strict=True):
        image = files[1].parent / record["image"].decode()
        assert image.resolve() == sample.image.resolve()
        assert record["sha256"] == sha256(image.read_bytes()).hexdigest().encode()
        assert record["label"] == sample.label.encode()
        assert record["split"] == (b"train" if sample.id in split.train else b"test")
        assert record["spacing"] == b"0.1;0.2"
    again = bcdseg.open_dataset(files[0])
    assert [(one.image.resolve(), one.label, one.facts) for one in again] == [
        (one.image.resolve(), one.label, one.facts) for one in data
    ]
    with pytest.raises(OutputExistsError):
        data.to_croissant(files[1].parent)
    with pytest.raises(OptionError, match="licence is not a property"):
        data.to_croissant(tmp_path / "other", licence="CC0")
