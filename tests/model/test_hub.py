"""Models on the Hugging Face Hub, against a stand-in on loopback. A process of its own each: the client reads its address once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_stand_in import hub

import bcdseg
from bcdseg import errors

LOAD = """
import json, sys, numpy, bcdseg
from bcdseg import errors

def load(address="hf://someone/my-model"):
    try:
        model = bcdseg.load(address)
    except errors.BcdsegError as error:
        return type(error).__name__, str(error)
    return model.name, model.classes, model.predict(numpy.full((40, 40), 90, numpy.uint8)).probabilities["a"]

model = bcdseg.load(sys.argv[1])
url = model.push_to_hub("someone/my-model", token="hf_test")
try:
    model.push_to_hub("someone/my-model", private=True, token="hf_test")
    is_public = "uploaded"
except errors.OptionError as error:
    is_public = str(error)
model.push_to_hub("someone/secret", private=True, token="hf_test")
others = [load("hf://someone/other"), load("hf://someone/my-model@v9"), load("hf://someone/a..b")]
print(json.dumps([url, load(), is_public, *others]), flush=True)
input()  # until the hub is gone
print(json.dumps([load(), load("hf://someone/other")]), flush=True)
"""


@contextmanager
def _client(cache: Path, endpoint: str, pushed: Path) -> Iterator[subprocess.Popen[str]]:
    """Push a model, load it and missing ones in a new process, and load it again after a line of input."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", LOAD, str(pushed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
    assert process.returncode == 0


def _next(process: subprocess.Popen[str]) -> list[Any]:
    """Return the next line that the process prints."""
    assert process.stdout is not None
    found: list[Any] = json.loads(process.stdout.readline())
    return found


def test_a_model_goes_up_and_comes_back(tmp_path: Path) -> None:
    model = bcdseg.create("plain_cnn", classes=["a", "b"], size=32)
    folder = model.save(tmp_path / "mine")
    expected = model.predict(np.full((40, 40), 90, np.uint8)).probabilities["a"]
    with ExitStack() as stack:
        with hub() as (endpoint, repositories):
            process = stack.enter_context(_client(tmp_path / "cache", endpoint, folder))
            url, loaded, is_public, missing, no_revision, impossible = _next(process)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        cached, unavailable = _next(process)
    assert url == f"{endpoint}/someone/my-model"
    assert {"config.json", "model.safetensors", "README.md"} <= set(repositories["someone/my-model"])
    assert repositories["someone/my-model"]["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert loaded == ["hf://someone/my-model", ["a", "b"], pytest.approx(expected, abs=1e-5)]
    assert missing[0] == "ModelNotFoundError"
    assert "the hub has no such model" in missing[1]
    assert no_revision[0] == "ModelNotFoundError"
    assert "no revision 'v9'" in no_revision[1]
    assert impossible[0] == "OptionError"
    assert "is public" in is_public
    assert "someone/secret" in repositories
    assert cached == loaded
    assert unavailable[0] == "WeightsUnavailableError"
    assert "download config.json, model.safetensors" in unavailable[1]


@pytest.mark.parametrize("address", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b@"])
def test_addresses_of_another_form_are_refused(address: str) -> None:
    with pytest.raises(errors.OptionError, match="hf://owner/name"):
        bcdseg.load(address)


@pytest.mark.parametrize("repository", ["name", Path("owner/name")])
def test_repositories_of_another_form_are_refused(repository: Any) -> None:
    with pytest.raises(errors.OptionError, match="owner/name"):
        bcdseg.create("plain_cnn", classes=["a", "b"]).push_to_hub(repository)
