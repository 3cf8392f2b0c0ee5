"""Models on the Hugging Face Hub, against a stand-in on loopback. A process of its own each: the client reads its address once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models.hub_stand_in import hub

import bcdseg
from bcdseg import errors

PUSH = """
import bcdseg
print(bcdseg.load({folder!r}).push_to_hub("someone/my-model", token="hf_test"))
"""
LOAD = """
import sys, numpy, bcdseg
model = bcdseg.load("hf://someone/my-model")
print(model.name, model.classes, model.predict(numpy.full((40, 40), 90, numpy.uint8)).probabilities["a"])
"""
MISSING = """
import bcdseg
try:
    bcdseg.load("hf://someone/other")
except bcdseg.errors.ModelNotFoundError as error:
    print(error)
"""
OFFLINE = """
import bcdseg
try:
    bcdseg.load("hf://someone/my-model")
except bcdseg.errors.WeightsUnavailableError as error:
    print(error)
"""


def _python(code: str, endpoint: str, cache: Path) -> str:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_goes_up_and_comes_back(tmp_path: Path) -> None:
    folder = bcdseg.create("plain_cnn", classes=["a", "b"], size=32).save(tmp_path / "mine")
    with hub() as (endpoint, held):
        assert _python(PUSH.format(folder=str(folder)), endpoint, tmp_path / "one") == f"{endpoint}/someone/my-model"
        assert {"config.json", "model.safetensors", "README.md"} <= set(held["someone/my-model"])
        assert held["someone/my-model"]["model.safetensors"] == (folder / "model.safetensors").read_bytes()
        answer = _python(LOAD, endpoint, tmp_path / "two")
        expected = bcdseg.load(folder).predict(np.full((40, 40), 90, np.uint8)).probabilities["a"]
        assert answer.startswith("hf://someone/my-model ('a', 'b')")
        assert float(answer.split()[-1]) == pytest.approx(expected, abs=1e-5)
        assert "the hub has no such model" in _python(MISSING, endpoint, tmp_path / "two")
    assert _python(LOAD, endpoint, tmp_path / "two") == answer  # from the cache, the hub being gone
    assert "download config.json, model.safetensors" in _python(OFFLINE, endpoint, tmp_path / "three")


@pytest.mark.parametrize("address", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b@"])
def test_addresses_of_another_form_are_refused(address: str) -> None:
    with pytest.raises(errors.OptionError, match="hf://owner/name"):
        bcdseg.load(address)


def test_repositories_of_another_form_are_refused() -> None:
    with pytest.raises(errors.OptionError, match="owner/name"):
        bcdseg.create("plain_cnn", classes=["a", "b"]).push_to_hub("name")
