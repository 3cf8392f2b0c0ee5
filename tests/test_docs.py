"""Code in README, docs and examples runs unchanged."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_dicom
import numpy as np
import pytest
from drawn import draw_scan
from made import busi

import bcdseg

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
Names = dict[str, Any]

TESTED_ELSEWHERE = {  # in inference, pacs and export
    *("docs/how-to/dicom.md", "docs/how-to/pacs.md", "docs/reference/pacs.md"),
    *("08_onnx_without_torch.py", "13_litert_without_torch.py"),
}
PAGES = ["README.md", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in sorted(PAGES) if page not in TESTED_ELSEWHERE and BLOCK.search((ROOT / page).read_text(encoding="utf-8"))]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("[0-9]*") if path.name not in TESTED_ELSEWHERE)

SLOW = {  # each trains several models, or draws several reports
    "docs/how-to/benchmark.md",
    "docs/how-to/evaluate.md",
    "docs/how-to/extend.md",
    "docs/how-to/recipes.md",
    "docs/reference/evaluate.md",
    "05_cross_validate_and_report.py",
    "06_compare_encoders.py",
    "12_training.ipynb",
}
assert {*PAGES, *EXAMPLES} >= SLOW

QUICKER: dict[str, dict[str, str]] = {
    "README.md": {'"resnet50"': '"plain_cnn", size=64', "epochs=60": "epochs=1", 'out="report"': 'out="report", draws=50'},
    "docs/how-to/benchmark.md": {
        "resnet50-": "cnn-",
        ', "default"]': "]",
        '"default")': '"cnn-3class+mask")',
        "folds=5": "folds=2, size=32, epochs=1",
    },
    "docs/how-to/evaluate.md": {'evaluate(model, test, out="report"': 'evaluate(model, test, out="report", draws=50'},
    "docs/how-to/extend.md": {
        "dict(epochs=1, batch_size=8)": 'dict(epochs=1, batch_size=8, pictures=False, calibrate=False, augment="none")',
        "size=64": "size=32",
    },
    "docs/how-to/recipes.md": {'"mobilenet_v2"': '"plain_cnn"'},
    "docs/how-to/fine-tune.md": {"bcdseg.load()": 'bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=64)'},
}
"""Slow code and its replacement in the tests. Each must still be on the page."""

LEAVES: dict[str, Callable[[Path, Names], bool]] = {
    "README.md": lambda here, names: (
        (here / "report" / "report.html").is_file()
        and (here / "outlined.png").is_file()
        and bcdseg.load("mine").classes == names["data"].classes
    ),
    "docs/get-started.md": lambda here, _: (here / "first-report" / "report.html").is_file(),
    "docs/how-to/benchmark.md": lambda here, names: (
        (here / "benchmark" / "benchmark.md").read_text(encoding="utf-8") == names["result"].table()
    ),
    "docs/how-to/data.md": lambda here, _: (here / "split.json").is_file(),
    "docs/how-to/evaluate.md": lambda here, _: (here / "report" / "report.html").is_file(),
    "docs/how-to/extend.md": lambda here, names: (
        bcdseg.load(str(here / "with-my-head")).network.config.head == "maximum"
        and names["run"].model.network.config.encoder == "five_convolutions"
    ),
    "docs/how-to/export.md": lambda here, _: (here / "model.onnx").is_file(),
    "docs/how-to/large-images.md": lambda _, names: bool(names["scan"].windows),
    "docs/how-to/fine-tune.md": lambda _, names: names["run"].model.classes == ("normal", "lesion"),
    "docs/how-to/predict.md": lambda here, _: len(list((here / "results").rglob("*_mask.png"))) == 18,
    "docs/how-to/recipes.md": lambda _, names: (
        names["tuned"].model.classes == ("normal", "benign", "malignant")
        and bcdseg.load("both").classes == names["taught"].model.classes == ("benign", "malignant")
    ),
    "docs/how-to/train.md": lambda here, names: bcdseg.load(here / "runs" / "light" / "model").classes == names["data"].classes,
    "docs/reference/dicom.md": lambda here, _: (here / "report.dcm").is_file(),
}
"""Files that must exist after a page has run."""


@pytest.fixture(scope="module")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make data with the names that the pages use once, with one cache of results."""
    folder = tmp_path_factory.mktemp("made")
    busi(folder / "Dataset_BUSI_with_GT", (8, 8, 8))
    (folder / "my-scans").symlink_to(folder / "Dataset_BUSI_with_GT")
    pixels = draw_scan(0)
    made_dicom.save(made_dicom.dicom(pixels, made_dicom.region((0, 0, *pixels.shape))), folder / "scan.dcm")
    frames = np.stack([draw_scan(seed) for seed in range(4)])
    made_dicom.save(made_dicom.dicom(frames, clip=True), folder / "clip.dcm")
    (folder / "data").symlink_to(ROOT / "data")
    return folder


@pytest.fixture
def here(made_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Work in an empty folder, with a link to the data."""
    for source in made_data.iterdir():
        if source.name != "cache":
            (tmp_path / source.name).symlink_to(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCDSEG_CACHE", str(made_data / "cache"))
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setitem(bcdseg.FitConfig.__init__.__kwdefaults__, "pictures", False)  # other tests draw those of a run
    for name in ("BCDSEG_BUSI_URL", "BCDSEG_DATA_MIRROR"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/none.zip")  # nothing listens there
    return tmp_path


def _marked(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.mark.usefixtures("own_names")
@pytest.mark.parametrize("page", _marked(PAGES))
def test_the_blocks_of_a_page_run_one_after_another(page: str, here: Path) -> None:
    text, names = "\n".join(BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))), dict[str, Any]()
    for slow, fast in QUICKER.get(page, {}).items():
        assert slow in text
        text = text.replace(slow, fast)
    exec(compile(text, page, "exec"), names)  # the pages are ours
    assert LEAVES.get(page, lambda *_: True)(here, names)


# Lightning's own, where an example uses it directly: a call that torch has deprecated since, and advice about workers.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning", "ignore:.*does not have many workers")
@pytest.mark.parametrize("example", _marked(EXAMPLES))
def test_the_examples_run(example: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", [example])
    if example.endswith(".ipynb"):
        run_notebook(ROOT / "examples" / example)
    else:
        runpy.run_path(str(ROOT / "examples" / example), run_name="__main__")
    assert capsys.readouterr().out
    assert any((here / "example-output").iterdir())


def run_notebook(path: Path) -> None:
    """Run the cells of a notebook from top to bottom, and show the last value of each as a notebook would."""
    names: Names = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "notebooks are kept without outputs"
            show(run_cell("".join(cell["source"]), path.name, names))


def run_cell(code: str, name: str, names: Names) -> object:
    """Run the statements of a cell, and return the value of the last one, where it is an expression."""
    import ast

    tree = ast.parse(code, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    return eval(compile(ast.Expression(last.value), name, "eval"), names) if isinstance(last, ast.Expr) else None


def show(value: object) -> None:
    for form in ("_repr_html_", "_repr_png_"):
        if hasattr(value, form):
            assert getattr(value, form)()
    if value is not None:
        print(value)


def test_the_examples_are_numbered_without_holes() -> None:
    numbers = sorted(int(path.name[:2]) for path in (ROOT / "examples").glob("[0-9]*"))
    assert numbers == list(range(1, len(numbers) + 1))
