"""A model that the commands run."""

from __future__ import annotations

import pytest

import bcdseg


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32)
    return str(made.save(tmp_path_factory.mktemp("models") / "small"))
