"""The report: a self-contained page, Markdown, JSON with a stable schema, and figures."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made import busi
from typer.testing import CliRunner, Result

import bcdseg
from bcdseg.cli import app
from bcdseg.evaluation.results import Evaluation
from bcdseg.evaluation.robustness import measure_robustness
from bcdseg.evaluation.training_overlap import remember_scans

HOSTILE = "<script>alert(1)</script> | `x`"
EMPTY = {"meta", "img", "br"}


class Page(HTMLParser):
    """Parser that keeps the content of a page, and checks that its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


def detected(y_true: np.ndarray, y_pred: np.ndarray) -> bool:
    return bool((y_true & y_pred).any())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("report") / "made", (10, 11, 12)))


@pytest.fixture(scope="module")
def result(small_model: bcdseg.Model, data: bcdseg.Dataset) -> Evaluation:
    samples = tuple(replace(one, facts={"device": f"{HOSTILE} {at % 2}", "age": 30.0 + at}) for at, one in enumerate(data))
    named = replace(data, name=HOSTILE, samples=samples)
    subgroups = {"device": None, "age": [45.0], "size": None}
    found = bcdseg.evaluate(
        small_model, named, draws=100, gallery=1, explain=True, subgroups=subgroups, prevalence=0.05, metrics=[detected]
    )
    tried = measure_robustness(small_model, named, degradations=("gain",), untouched=found.cases, draws=20)
    return replace(found, robustness=tried)


@pytest.fixture(scope="module")
def folder(result: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "report"
    assert result.save(folder, compared_with=[result]) == folder / "report.html"
    return folder


@pytest.mark.parametrize(("name", "other"), [("report.html", "cases.html"), ("cases.html", "report.html")])
def test_the_page_stands_alone_and_is_whole(folder: Path, name: str, other: str) -> None:
    text = (folder / name).read_text()
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?://|//[a-z]+\.", text)
    tags = Counter(tag for tag, _ in page.attributes)
    assert (tags["script"], tags["link"], tags["iframe"]) == (1, 0, 0)
    script = re.search('<script data-part="tables">(.*)</script>', text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text  # no other script runs
    for tag, attributes in page.attributes:
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "#").startswith("#") or attributes["href"] == other
        if tag == "img":
            assert attributes["alt"]
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text
    links = {(attributes["href"] or "")[1:] for tag, attributes in page.attributes if tag == "a" and attributes["href"] != other}
    assert links == {attributes["id"] for tag, attributes in page.attributes if attributes.get("id")}


def test_each_scan_has_a_row_on_its_own_page(folder: Path, result: Evaluation) -> None:
    page = Page((folder / "cases.html").read_text())
    words = " ".join(page.words)
    assert all(name in words for name in result.cases.ids)
    assert ("table", {"class": "wide search"}) in [(tag, dict(attributes)) for tag, attributes in page.attributes]
    right = int((result.cases.predicted == result.cases.labels)[result.cases.has_class].sum())
    assert page.words.count("right") == right


def test_the_page_contains_the_required_statements(folder: Path) -> None:
    words = " ".join(Page((folder / "report.html").read_text()).words)
    for part in (
        "Not a medical device",
        "can't be ruled out",
        "This model was not trained",
        HOSTILE,
        "bootstrap of whole groups",
        "A scan in which nothing is outlined is never left out",
        "no evidence that the model used the right region",
        "33 scans in 33 groups",
        "Clinical utility",
        "Subgroups",
        "without adjustment",
        "45 or more",
        "limits of agreement",
        "at a prevalence of 5 %",
        "User-defined metrics",
    ):
        assert part in words, part
    assert "nan" not in words.lower().split()
    assert "None" not in words.split()


def test_the_markdown_has_whole_tables_and_its_pictures(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    pictures = re.findall(r"!\[(?:\\.|[^\]])*\]\(([^)]+)\)", text)
    assert len(pictures) > 8
    assert all((folder / name).is_file() for name in pictures)
    assert "<script>" not in text


def test_the_figures_are_png_and_svg(folder: Path) -> None:
    kinds = ("dice", "dice-size", "confusion", "roc", "precision-recall", "reliability", "risk-coverage", "robustness-gain")
    kinds += ("decision-curve", "froc", "bland-altman-long-axis-px", "subgroups-age", "subgroups-size")
    for kind in kinds:
        assert (folder / "figures" / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (folder / "figures" / f"{kind}.svg").read_bytes()
    assert (folder / "figures" / "gallery" / "worst-1.png").is_file()


def test_the_json_keeps_its_schema(folder: Path, result: Evaluation) -> None:
    content = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert (content["format"], content["format_version"]) == ("bcdseg-evaluation", 2)
    assert set(content) == {
        "format", "format_version", "library_version", "model", "dataset", "training_overlap", "bootstrap", "measures", "spreads",
        "confusion", "reliability", "subgroups", "robustness", "comparisons", "gallery",
    }  # fmt: skip
    measures = {one["name"]: one for one in content["measures"]}
    assert {frozenset(one) for one in content["measures"]} == {
        frozenset(
            (
                "name",
                "title",
                "definition",
                "section",
                "unit",
                "higher_is_better",
                "value",
                "low",
                "high",
                "se",
                "n",
                "groups",
                "note",
            )
        )
    }
    assert measures["dice"]["value"] == result["dice"].value
    assert content["dataset"]["classes"] == {"normal": 10, "benign": 11, "malignant": 12}
    assert {frozenset(one) for one in content["robustness"]["steps"]} == {
        frozenset(("degradation", "strength", "measures", "changes"))
    }
    assert {one["fact"] for one in content["subgroups"]["subgroups"]} == {"device", "age", "size"}
    assert content["comparisons"][0]["differences"][0].keys() >= {"name", "first", "second", "value", "low", "high"}


def test_the_cases_are_a_table(folder: Path, data: bcdseg.Dataset, result: Evaluation) -> None:
    with (folder / "cases.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(data.ids)
    worst = min((float(row["dice"]), name) for name, row in rows.items() if float(row["truth_area"]) > 0)
    assert worst[0] == pytest.approx(float(result.cases.outline["dice"][result.cases.lesion].min()), rel=1e-5)
    assert {row["fact_age"] for row in rows.values()} == {str(30.0 + at) for at in range(33)}
    assert {row["detected"] for row in rows.values() if row["label"] == "normal"} == {""}
    for name in ("dice", "iou", "boundary_f1", "hd95_px"):
        assert {row[name] for row in rows.values() if row["label"] == "normal"} == {""}
        assert np.mean([float(row[name]) for row in rows.values() if row[name]]) == pytest.approx(result[name].value, rel=1e-5)
    assert {row["predicted"] for row in rows.values()} <= set(result.cases.classes)


def test_the_checklists_have_what_is_known_and_leave_the_rest_to_the_authors(folder: Path) -> None:
    text = (folder / "checklist.md").read_text()
    for name, items in (("CLAIM 2024", 44), ("TRIPOD+AI", 52), ("STARD-AI", 48)):
        part = text[text.index(f"## {name}") :].split("\n## ")[0]
        rows = [line for line in part.splitlines() if re.match(r"\| \d+[a-g]? \|", line)]
        assert len(rows) == items
        filled = [row for row in rows if "To be written by the authors" not in row]
        assert f"{len(filled)} of {items} items are filled in" in part
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
        assert 10 < len(filled) < items
    assert [row.split(" | ")[0] for row in rows][-5:] == ["| 37", "| 38", "| 39", "| 40a", "| 40b"]  # STARD-AI has 40 items
    assert "33 scans in 33 groups" in text
    assert "10 normal, 11 benign, 12 malignant" in text
    assert "age: median 46 (30 to 62)" in text
    assert "<script>" not in text
    assert not re.search(r"\.[;.]", text)  # sentences are separated by spaces


@pytest.mark.usefixtures("no_figures")
def test_a_report_of_classes_alone_does_not_state_that_the_masks_are_unknown(data: bcdseg.Dataset, tmp_path: Path) -> None:
    rows = [f"{one.id},{one.label}" for one in data]
    (tmp_path / "classes.csv").write_text("\n".join(["id,label", *rows]))
    bcdseg.evaluate_predictions(tmp_path / "classes.csv", data, draws=0, gallery=0, out=tmp_path / "report")
    assert "All predicted probabilities are 0 or 1" in (tmp_path / "report" / "report.md").read_text()
    for name in ("paper.md", "paper.tex"):
        assert "interval" not in (tmp_path / "report" / name).read_text()  # none was requested
    checklist = (tmp_path / "report" / "checklist.md").read_text()
    assert "is unknown" not in checklist
    assert "Classes of 33 scans, as in the data set." in checklist
    assert "| true mask known | not compared: no masks are predicted |" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.usefixtures("no_figures")
def test_checklists_state_the_median_of_a_fact_and_of_how_many_scans_it_is_unknown(data: bcdseg.Dataset, tmp_path: Path) -> None:
    ages = (20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, None, None)
    chosen = data.select(data.ids[: len(ages)])
    aged = replace(
        chosen, samples=tuple(replace(one, facts={"age": age} if age else {}) for one, age in zip(chosen, ages, strict=True))
    )
    (tmp_path / "classes.csv").write_text("\n".join(["id,label", *(f"{one.id},{one.label}" for one in aged)]))
    bcdseg.evaluate_predictions(tmp_path / "classes.csv", aged, draws=0, gallery=0, out=tmp_path / "report")
    assert "age: median 45 (20 to 80), unknown in 2 scans" in (tmp_path / "report" / "checklist.md").read_text()


@pytest.mark.usefixtures("no_figures")
def test_facts_of_similar_names_have_figures_of_their_own(data: bcdseg.Dataset, tmp_path: Path) -> None:
    facts = [{"age (y)": float(at % 2), "age [y]": float(at % 3)} for at in range(len(data))]
    named = replace(data, samples=tuple(replace(one, facts=own) for one, own in zip(data, facts, strict=True)))
    (tmp_path / "classes.csv").write_text("\n".join(["id,label", *(f"{one.id},{one.label}" for one in named)]))
    options = {"draws": 0, "gallery": 0, "out": tmp_path / "report", "subgroups": ["age (y)", "age [y]"]}
    bcdseg.evaluate_predictions(tmp_path / "classes.csv", named, **options)  # type: ignore[arg-type]
    figures = re.findall(r"figures/(subgroups-[^)]+)\.png", (tmp_path / "report" / "report.md").read_text())
    assert len(set(figures)) == 2


def test_the_paper_has_methods_and_the_same_values_in_markdown_and_latex(folder: Path, result: Evaluation) -> None:
    markdown, latex = ((folder / name).read_text() for name in ("paper.md", "paper.tex"))
    dice = result["dice"]
    value = f"{dice.value:.3f} ({dice.low:.3f} to {dice.high:.3f})"
    assert f"| Dice | {value} | 23 | 23 |" in markdown
    assert rf"Dice & {value} & 23 & 23 \\" in latex
    for text in (markdown, latex):
        assert "bootstrap of 100 draws of whole groups" in text
        assert "without adjustment for multiple comparisons" in text
        assert "fixed before these scans were predicted" in text  # the model was never calibrated
    body = latex.replace(r"\begin{table}", "").replace(r"\end{table}", "")
    assert not re.search(r"(?<!\\)[%#$]", body)
    assert body.count("{") == body.count("}")
    assert r"\textless{}script\textgreater{}" in latex


def test_nothing_is_replaced_by_default(folder: Path, result: Evaluation, small_model: bcdseg.Model, data: bcdseg.Dataset) -> None:
    with pytest.raises(bcdseg.errors.OutputExistsError):
        result.save(folder)
    with pytest.raises(bcdseg.errors.OutputExistsError):  # before anything is predicted
        bcdseg.evaluate(small_model, data.select([data.ids[0]]), out=folder)


@pytest.mark.parametrize("kind", ["one class", "outlines only", "one scan"])
def test_thin_data_give_a_report_too(small_model: bcdseg.Model, data: bcdseg.Dataset, kind: str, tmp_path: Path) -> None:
    model, chosen = small_model, data.select(data.ids[:3])
    if kind == "outlines only":
        model = bcdseg.create("plain_cnn", classes=[], head=None, size=32)
    elif kind == "one scan":
        chosen = data.select([data.ids[-1]])
    result = bcdseg.evaluate(model, chosen, draws=20, gallery=0)
    words = " ".join(Page(result.save(tmp_path / "report", compared_with=[result]).read_text()).words)
    assert "too few for an interval" in words or "there are no" in words
    assert not any(part in words for part in ("The band is", "One interval in twenty", "DeLong"))  # none has an interval


def test_the_command_writes_it_and_prints_a_summary(small_model: bcdseg.Model, data: bcdseg.Dataset, tmp_path: Path) -> None:
    model, root = small_model.save(tmp_path / "model"), data.samples[0].image.parents[1]
    bcdseg.split(data, seed=1, duplicates=[]).save(tmp_path / "split.json")
    (tmp_path / "metrics.csv").write_text("epoch,mask_loss,joint\n1,0.9,0.2\n2,0.8,0.3\n")

    def run(*more: str) -> object:
        start = ["evaluate", str(model), str(root), "--split", str(tmp_path / "split.json"), "--draws", "20", "--gallery", "1"]
        return CliRunner().invoke(app, [*start, "--out", str(tmp_path / "report"), *more])

    done = run("--calibrate-on", "val", "--sensitivity", "0.9", "--compare", str(model))
    assert done.exit_code == 0, done.output  # type: ignore[attr-defined]
    assert "Dice" in done.stdout  # type: ignore[attr-defined]
    assert f"Comparison of {tmp_path.name} with {tmp_path.name}" in done.stdout  # type: ignore[attr-defined]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "sensitivity 0.9" in page
    assert "Training curves" in page
    assert isinstance(run().exception, bcdseg.errors.OutputExistsError)  # type: ignore[attr-defined]
    assert isinstance(run("--overwrite", "--sensitivity", "0.9").exception, bcdseg.errors.OptionError)  # type: ignore[attr-defined]


def test_the_command_refuses_thresholds_from_the_scans_to_evaluate_on_or_for_predictions(
    data: bcdseg.Dataset, tmp_path: Path
) -> None:
    root = str(data.samples[0].image.parents[1])

    def refused(*more: str) -> str:
        done = CliRunner().invoke(app, ["evaluate", *more, "--out", str(tmp_path / "report")])
        assert isinstance(done.exception, bcdseg.errors.OptionError), done.output
        return str(done.exception)

    for options in (["--split", "split.json", "--calibrate-on", "test"], ["--calibrate-on", "val"]):
        assert "evaluated on these scans too" in refused("busi-lite", root, *options)
    (tmp_path / "theirs").mkdir()
    assert "leave out --sensitivity" in refused(str(tmp_path / "theirs"), root, "--sensitivity", "0.9")


@pytest.mark.usefixtures("no_figures")
def test_the_command_excludes_training_samples(data: bcdseg.Dataset, tmp_path: Path) -> None:
    model, root = bcdseg.create("plain_cnn", classes=data.classes, size=32), data.samples[0].image.parents[1]
    model.training = {"seen": remember_scans(data.select(data.ids[:4]))}
    command = [
        "evaluate",
        str(model.save(tmp_path / "model")),
        str(root),
        "--draws",
        "0",
        "--gallery",
        "0",
        "--out",
        str(tmp_path / "report"),
    ]
    assert isinstance(CliRunner().invoke(app, command).exception, bcdseg.errors.LeakError)
    done = CliRunner().invoke(app, [*command, "--exclude-training-samples"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "report" / "cases.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(data.ids[4:])


@pytest.mark.usefixtures("no_figures")
def test_a_replaced_report_leaves_none_of_its_figures(folder: Path, result: Evaluation, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    own = tmp_path / "figures" / "mine.png"
    own.write_bytes(b"")
    assert (tmp_path / "figures" / "gallery").is_dir()
    replace(result, gallery=()).save(tmp_path, overwrite=True)
    assert not (tmp_path / "figures" / "gallery").exists()
    assert own.exists()
    assert (tmp_path / "figures" / "dice.png").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_model_to_compare_with_is_checked_first_and_its_training_scans_are_excluded_too(
    data: bcdseg.Dataset, tmp_path: Path
) -> None:
    root, train = data.samples[0].image.parents[1], {"first": data.ids[:4], "second": data.ids[-4:]}
    for name, ids in train.items():
        model = bcdseg.create("plain_cnn", classes=data.classes, size=32)
        model.training = {"seen": remember_scans(data.select(ids))}
        model.save(tmp_path / name)

    def run(*options: str) -> Result:
        first, out = str(tmp_path / "first"), str(tmp_path / "report")
        return CliRunner().invoke(app, ["evaluate", first, str(root), "--draws", "0", "--gallery", "0", "--out", out, *options])

    missing = run("--exclude-training-samples", "--robustness", "--compare", "no-such-model")
    assert isinstance(missing.exception, bcdseg.errors.BcdsegError)
    done = run("--exclude-training-samples", "--compare", str(tmp_path / "second"))
    assert done.exit_code == 0, done.output
    with (tmp_path / "report" / "cases.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(data.ids[4:-4])


@pytest.mark.parametrize("option", ["--exclude-training-samples", "--unseen"])
def test_the_command_fails_when_only_training_samples_are_given(data: bcdseg.Dataset, option: str, tmp_path: Path) -> None:
    model, root = bcdseg.create("plain_cnn", classes=data.classes, size=32), data.samples[0].image.parents[1]
    model.training = {"seen": remember_scans(data)}
    model.save(tmp_path / "model")
    command = ["evaluate", str(tmp_path / "model"), str(root), option, "-o", str(tmp_path / "report")]
    deprecated = pytest.warns(DeprecationWarning, match="--unseen .* use --exclude-training-samples")
    with deprecated if option == "--unseen" else nullcontext():
        done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, bcdseg.errors.LeakError)
    assert "none is left" in str(done.exception)
    assert not (tmp_path / "report").exists()


def test_a_run_is_not_taken_for_predictions(data: bcdseg.Dataset, tmp_path: Path) -> None:
    bcdseg.create("plain_cnn", classes=data.classes, size=32).save(tmp_path / "run" / "model")
    root = data.samples[0].image.parents[1]
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "run"), str(root), "--out", str(tmp_path / "report")])
    assert isinstance(done.exception, bcdseg.errors.ModelFileError)
    assert f"Do you mean {tmp_path / 'run' / 'model'}?" in str(done.exception)
