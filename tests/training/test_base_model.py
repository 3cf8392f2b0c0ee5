"""Fine-tuning on scans that the model was trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import busi

import bcdseg
from bcdseg.errors import LeakWarning
from bcdseg.evaluation.training_overlap import remember_scans


def test_fit_warns_of_scans_that_the_base_model_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    data = bcdseg.open_dataset(busi(tmp_path / "scans", (0, 4, 4), second_mask=False))
    train, val = data.select(data.ids[::2]), data.select(data.ids[1::2])
    model = bcdseg.create("plain_cnn", classes=data.classes, size=32, decoder_channels=(16, 8, 8, 8, 8))
    model.training = {"seen": remember_scans(val.select(val.ids[:3]))}
    options = {"epochs": 1, "batch_size": 4, "progress": False, "pictures": False, "workers": 0}
    with pytest.warns(LeakWarning, match="0 of 4 training scans and 3 of 4 validation scans") as caught:
        bcdseg.fit(model, train, val, out=tmp_path / "run", **options)
    assert sum(issubclass(one.category, LeakWarning) for one in caught) == 1
