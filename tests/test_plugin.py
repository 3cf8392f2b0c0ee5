"""A package of another author, installed by pip: its parts are used by their names alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made import busi

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TRAIN = """
import sys
import bcdseg

data = bcdseg.open_dataset(sys.argv[1])
train, val, _ = bcdseg.split(data, (0.6, 0.4, 0))
model = bcdseg.create("example_cnn", classes=data.classes, head="example_max", size=32)
options = {"epochs": 1, "batch_size": 4, "workers": 0, "device": "cpu", "pictures": False, "progress": False, "calibrate": False}
run = bcdseg.fit(model, train, val, out="run", mask_loss="example_l1", augment="none", **options)
print(run.history[0]["mask_loss"])
"""
PREDICT = """
import sys
import bcdseg
from PIL import Image

model = bcdseg.load("run/model")
print(model.network.config.encoder, model.network.config.head, model.predict(Image.open(sys.argv[1])).label)
"""
BROKEN = """
import json
import warnings
import bcdseg

bcdseg.create("plain_cnn", classes=["a", "b"], size=32)  # needs no plug-in
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        bcdseg.create("example_cnn", classes=["a", "b"], size=32)
    except bcdseg.errors.OptionError as error:
        refused = str(error)
print(json.dumps({"refused": refused, "warnings": [[one.category.__name__, str(one.message)] for one in caught]}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package, and return its folder."""
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(HERE / "plugin", source)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True, capture_output=True)
    return target


def _python(code: str, site: Path, folder: Path, *arguments: object) -> str:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_installed_package_adds_an_encoder_a_head_and_a_loss(installed: Path, tmp_path: Path) -> None:
    data = busi(tmp_path / "data", (4, 4, 4))
    loss = float(_python(TRAIN, installed, tmp_path, data).splitlines()[-1])
    assert 0 < loss < 1, "the plug-in's L1 loss of probabilities"
    encoder, head, label = _python(PREDICT, installed, tmp_path, data / "benign" / "benign (1).png").split()
    assert (encoder, head) == ("example_cnn", "example_max")
    assert label in ("normal", "benign", "malignant")


@pytest.mark.parametrize("code", ["import nowhere_to_be_found", "import sys; sys.exit('no licence')"])
def test_a_package_that_cannot_be_imported_is_named_and_stops_nothing_else(installed: Path, tmp_path: Path, code: str) -> None:
    broken = tmp_path / "site"
    shutil.copytree(installed, broken)
    (broken / "bcdseg_example" / "parts.py").write_text(code)
    found = json.loads(_python(BROKEN, broken, tmp_path))
    assert "example_cnn" in found["refused"]
    ((category, message),) = found["warnings"]
    assert category == "PluginWarning"
    assert "'example' (bcdseg_example.parts of bcdseg-example) can't be imported" in message
