"""A MONAI bundle: run by MONAI's own command, without this library, its output is that of the model."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import draw_scan
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from PIL import Image

import bcdseg
from bcdseg import Model, errors

CLASSES = ["normal", "benign", "malignant"]
SIZES = [(120, 160), (90, 61)]
ALONE = (
    "import sys, runpy;"
    "sys.modules.update(dict.fromkeys(('bcdseg', 'segmentation_models_pytorch', 'timm')));"  # importing them fails
    "runpy.run_module('monai.bundle', run_name='__main__')"
)
REQUIRED = (  # by MONAI's schema of 2024-07-25
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task"),
    *("description", "authors", "copyright", "network_data_format"),
)
REQUIRED_TENSORS = {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"}


def _model(**options: Any) -> Model:
    torch.manual_seed(0)
    facts: dict[str, Any] = {"classes": CLASSES, "size": (32, 40), "decoder_channels": (16, 8, 8, 4, 4)}
    made = bcdseg.create("plain_cnn", **{**facts, **options})
    offsets = (-1.0, 0.3, 0.0) if made.classes == tuple(CLASSES) else ()
    rules = bcdseg.Rules(temperature=1.7, class_offsets=offsets, threshold=0.5, min_lesion_share=0.02)
    return Model(made.network, made.preprocessing, rules, name="small")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    written = _model().export(folder / "small.zip")
    assert written.format == "monai"
    with zipfile.ZipFile(written.path) as packed:
        packed.extractall(folder)
    return folder / "small"


def test_monai_predicts_a_folder_with_it_and_without_this_library(bundle: Path, tmp_path: Path) -> None:
    model = _model()
    scans, out = tmp_path / "scans", tmp_path / "out"
    (scans / "below").mkdir(parents=True)
    for number, size in enumerate(SIZES):
        Image.fromarray(draw_scan(number, size)).save(scans / f"scan {number}.png")
    colour = np.stack([draw_scan(7), draw_scan(8), draw_scan(9)], axis=-1)
    Image.fromarray(colour).save(scans / "below" / "colour.png")
    Image.fromarray(draw_scan(0)).save(scans / "scan 0_mask.png")
    options = {"config_file": bundle / "configs/inference.json", "bundle_root": bundle, "dataset_dir": scans, "output_dir": out}
    arguments = ["run", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
    done = subprocess.run([sys.executable, "-c", ALONE, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    table = csv.reader((out / "classes.csv").read_text().splitlines())
    rows = {Path(row[0]).name: [float(value) for value in row[1:]] for row in table}
    assert set(rows) == {"scan 0.png", "scan 1.png", "colour.png"}
    dropped = False
    for file in ("scan 0.png", "scan 1.png", "below/colour.png"):
        expected = model.predict(scans / file)
        found = np.asarray(Image.open(out / file.replace(".png", "_mask.png")))
        assert set(np.unique(found)) <= {0, 255}
        assert expected.mask is not None
        assert expected.mask_probability is not None
        dropped |= bool(((expected.mask_probability >= 0.5) & ~expected.mask).any())
        assert ((found == 255) != expected.mask).mean() <= 0.001
        assert rows[Path(file).name] == pytest.approx([expected.probabilities[name] for name in CLASSES], abs=1e-3)
    assert dropped, "no small component in any scan: nothing shows that they are removed as by the model"


def test_it_has_the_metadata_that_monai_requires(bundle: Path) -> None:
    facts = json.loads((bundle / "configs/metadata.json").read_text())
    assert set(REQUIRED) <= set(facts)
    form = facts["network_data_format"]
    for tensor in (*form["inputs"].values(), *form["outputs"].values()):
        assert set(tensor) >= REQUIRED_TENSORS
    assert list(form["outputs"]["probabilities"]["channel_def"].values()) == CLASSES
    page = (bundle / "docs/README.md").read_text()
    assert "not bcdseg" in page
    assert "normal, benign, malignant" in page
    assert {path.name for path in (bundle / "models").iterdir()} == {"model.ts", "bcdseg.json"}


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({"in_channels": 3}, ["mask", "probabilities"]),
        ({"resize": "fit"}, ["mask", "probabilities"]),
        ({"head": None, "classes": ()}, ["mask"]),
        ({"decoder": None, "decoder_channels": None}, ["probabilities"]),
    ],
)
def test_every_kind_of_model_becomes_one_that_agrees(options: dict[str, Any], outputs: list[str], tmp_path: Path) -> None:
    model = _model(**options)
    written = model.export(tmp_path / "small.zip", check_on=[draw_scan(5, (77, 50))])
    assert written.difference.mask <= 0.001
    assert written.difference.probability <= 0.001
    with zipfile.ZipFile(written.path) as packed:
        facts = json.loads(packed.read("small/configs/metadata.json"))
        steps = json.loads(packed.read("small/configs/inference.json"))["postprocessing"]["transforms"]
    assert list(facts["network_data_format"]["outputs"]) == outputs
    assert steps[0]["sub_keys"] == outputs


def test_a_model_that_resizes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="resizes by 'none'"):
        _model(resize="none").export(tmp_path / "small.zip")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Parameter `min_size` is deprecated:FutureWarning")  # MONAI's call of scikit-image
def test_an_outline_below_the_presence_threshold_is_written_as_a_candidate(tmp_path: Path) -> None:
    made = _model()
    model = Model(made.network, made.preprocessing, bcdseg.Rules(presence_threshold=0.3), name="small")
    with zipfile.ZipFile(model.export(tmp_path / "small.zip").path) as packed:
        packed.extractall(tmp_path)
    parser = ConfigParser()
    parser.read_config(tmp_path / "small/configs/inference.json")
    parser["output_dir"], parser["dataset_dir"] = str(tmp_path / "out"), str(tmp_path)
    write = parser.get_parsed_content("postprocessing")
    outline = torch.zeros(1, 16, 12)
    outline[:, 4:10, 3:9] = 0.9
    for name, normal in (("finding", 0.65), ("candidate", 0.75)):
        image = MetaTensor(torch.zeros(1, 16, 12), meta={"filename_or_obj": str(tmp_path / f"{name}.png")})
        classes = torch.tensor([normal, (1 - normal) / 2, (1 - normal) / 2])
        write({"image": image, "pred": {"mask": outline, "probabilities": classes}})
    written = {path.stem: np.asarray(Image.open(path)) > 0 for path in (tmp_path / "out").glob("*.png")}
    expected = outline[0].T.numpy() > 0
    empty = np.zeros_like(expected)
    for name, mask, candidate in (("finding", expected, empty), ("candidate", empty, expected)):
        np.testing.assert_array_equal(written[f"{name}_mask"], mask)
        np.testing.assert_array_equal(written[f"{name}_candidate"], candidate)
    assert "is a candidate, not a finding" in (tmp_path / "small/docs/README.md").read_text()
