from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_twins import KINDS, scan, scan_and_lesion, text_over, twin, write
from PIL import Image, ImageDraw
from rich.console import Console

from bcdseg.cli.data import print_audit
from bcdseg.data_audit.audit import Audit, Finding, audit
from bcdseg.data_audit.burned_in_annotations import mark_findings
from bcdseg.data_audit.findings import confident_joint
from bcdseg.errors import InputError, OptionError, OutputExistsError
from bcdseg.types import Sample


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))


def with_mask(sample: Sample, mask: np.ndarray) -> Sample:
    path = sample.image.with_name(sample.image.stem + "_mask.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return replace(sample, masks=(path,))


def of(result: Audit, kind: str) -> list[Finding]:
    return [finding for finding in result.findings if finding.kind == kind]


def box_mask(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((256, 256), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_twins_with_two_labels_are_conflicts(tmp_path: Path) -> None:
    pictures = {"benign/1.png": scan(1), "malignant/1.png": scan(1)[:, ::-1], "benign/2.png": scan(2), "benign/3.png": scan(2)}
    labels = {name: name.split("/")[0] for name in pictures}
    result = audit(write(tmp_path, pictures, labels))
    assert result.duplicate_groups == (("benign/1.png", "malignant/1.png"), ("benign/2.png", "benign/3.png"))
    assert result.conflicts == (("benign/1.png", "malignant/1.png"),)
    assert result.groups["benign/2.png"] == result.groups["benign/3.png"] != result.groups["benign/1.png"]
    assert "benign and malignant" in of(result, "label conflict")[0].message
    assert repr(result) == "<Audit of data set: 4 scans; 4 near-duplicates in 2 groups; findings: label conflict 1>"
    assert "label conflict" in result._repr_html_()


def test_a_group_of_most_scans_is_reported(tmp_path: Path) -> None:
    def found(copies: int) -> list[Finding]:
        pictures = {f"{number:02}.png": scan(max(0, number - copies)) for number in range(20)}
        return of(audit(write(tmp_path / str(copies), pictures)), "large group")

    assert not found(8)
    (finding,) = found(12)
    assert finding.message.startswith("13 of 20 scans are one group of near-duplicates.")


def test_outlines_of_twins_are_compared_where_they_lie(tmp_path: Path) -> None:
    picture, lesion = scan_and_lesion(1)
    samples = write(tmp_path, {"a.png": picture, "b.png": picture[40:, ::-1], "c.png": (picture * 0.9).astype(np.uint8)})
    fits, differs = with_mask(samples[1], lesion[40:, ::-1]), with_mask(samples[2], np.roll(lesion, 30, axis=1))
    result = audit([with_mask(samples[0], lesion), fits, differs])
    conflicts = of(result, "mask conflict")
    assert {finding.sample_ids for finding in conflicts} == {("a.png", "c.png"), ("b.png", "c.png")}
    expected = 2 * (lesion & np.roll(lesion, 30, axis=1)).sum() / (2 * lesion.sum())
    assert [finding.value for finding in conflicts] == pytest.approx([expected] * 2, abs=0.03)


def test_masks_are_compared_with_labels_and_the_border(tmp_path: Path) -> None:
    made = {
        "empty.png": ("malignant", box_mask(0, 0, 0, 0)),
        "healthy.png": ("normal", box_mask(0, 0, 0, 0)),
        "odd.png": ("normal", box_mask(50, 60, 90, 100)),
        "edge.png": ("benign", box_mask(0, 60, 40, 100)),
        "two.png": ("benign", box_mask(20, 20, 60, 60) | box_mask(100, 100, 140, 140)),
        "tiny.png": ("benign", box_mask(100, 100, 105, 105)),
        "good.png": ("benign", box_mask(100, 100, 150, 150)),
    }
    labels = {name: label for name, (label, _) in made.items()}
    samples = write(tmp_path, {name: scan(number) for number, name in enumerate(made)}, labels)
    result = audit(with_mask(sample, made[sample.id][1]) for sample in samples)
    found = {(finding.kind, finding.sample_ids[0]): finding.where for finding in result.findings if finding.sample_ids}
    assert found == {
        ("empty mask", "empty.png"): None,
        ("lesion on normal", "odd.png"): (50, 60, 90, 100),
        ("mask at the border", "edge.png"): (0, 60, 40, 100),
        ("several lesions", "two.png"): (20, 20, 140, 140),
        ("tiny lesion", "tiny.png"): (100, 100, 105, 105),
    }


def test_marks_are_found_where_they_are() -> None:
    for seed in range(12):
        assert list(mark_findings("clean", scan(seed))) == []
    found = 0
    for seed in range(8):
        marked = KINDS["calipers"]((scan(seed) * 0.6).astype(np.uint8), np.random.default_rng(seed))
        found += any(finding.kind == "calipers" for finding in mark_findings("a", marked))
    assert found >= 6
    dark = (scan(1) * 0.4).astype(np.uint8)
    (text,) = mark_findings("a", text_over(dark, "", "", "RIGHT AXILLA"))
    assert text.kind == "text"
    assert text.where is not None
    top, left, bottom, right = text.where
    assert 28 <= top < bottom <= 50
    assert left < 20
    assert 30 < right < 100


def test_icons_and_colour_are_found_where_they_are() -> None:
    picture = Image.fromarray((scan(2) * 0.4).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((210, 205, 250, 245), outline=230, width=2)
    (icon,) = mark_findings("a", np.array(picture))
    assert icon.kind == "body marker"
    assert icon.where == pytest.approx((205, 210, 246, 251), abs=2)
    colour = np.repeat(scan(2)[..., None], 3, axis=2)
    colour[80:120, 60:130] = (220, 30, 20)
    (overlay,) = [finding for finding in mark_findings("a", colour) if finding.kind == "coloured overlay"]
    assert overlay.where == pytest.approx((80, 60, 120, 130), abs=3)
    assert overlay.value == pytest.approx(40 * 70 / 256**2, abs=1e-3)


def test_properties_that_give_the_class_away_are_named(tmp_path: Path) -> None:
    pictures, labels = {}, {}
    for number in range(40):
        malignant = number % 2 == 1
        name = f"{number}.{'jpg' if malignant else 'png'}"
        pictures[name] = scan(number, 96, 96 + 32 * malignant)
        labels[name] = "malignant" if malignant else "benign"
    messages = [finding.message for finding in of(audit(write(tmp_path, pictures, labels)), "shortcut")]
    assert any("The width alone separates benign from the others with an AUC of 1.00" in message for message in messages)
    assert any("file format alone" in message and ".png" in message for message in messages)
    assert not any("height alone" in message for message in messages)


def test_like_classes_have_no_shortcut(tmp_path: Path) -> None:
    pictures = {f"{number}.png": scan(number, 96, 96) for number in range(40)}
    result = audit(write(tmp_path, pictures, {name: f"class {number % 2}" for number, name in enumerate(pictures)}))
    assert of(result, "shortcut") == []


def test_confident_learning_against_a_case_worked_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.3, 0.65])
    # Mean of class 0 over its own: (0.9 + 0.8 + 0.7 + 0.2) / 4 = 0.65; of class 1: (0.9 + 0.7 + 0.35) / 3 = 0.65.
    # The fourth is class 1 with 0.8, the last class 0 with 0.65: both confident, both against their label.
    assert confident_joint(labels, np.stack([first, 1 - first], 1)).tolist() == [0, 0, 0, 1, 1, 1, 0]
    unsure = np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])
    assert confident_joint(np.array([0, 0, 1]), unsure).tolist() == [-1, 0, 1]


def test_label_noise_needs_predictions_of_all_and_names_the_doubtful(tmp_path: Path) -> None:
    samples = write(tmp_path, {f"{n}.png": scan(n) for n in range(4)}, {f"{n}.png": "ab"[n % 2] for n in range(4)})
    predictions = {
        "0.png": {"a": 0.9, "b": 0.1},
        "1.png": {"a": 0.95, "b": 0.05},
        "2.png": {"a": 0.8, "b": 0.2},
        "3.png": {"a": 0.1, "b": 0.9},
    }
    (finding,) = of(audit(samples, predictions=predictions), "label noise")
    assert finding.sample_ids == ("1.png",)
    assert finding.value == pytest.approx(0.9)
    with pytest.raises(InputError, match=r"2\.png"):
        audit(samples, predictions={name: row for name, row in predictions.items() if name != "2.png"})
    with pytest.raises(InputError, match="each of a, b"):
        audit(samples, predictions={**predictions, "3.png": {"a": 1.0}})
    steps: list[object] = []
    with pytest.raises(InputError, match="4 labelled samples"):
        audit(samples, predictions={}, cache=False, progress=lambda *step: steps.append(step))
    assert not steps  # refused before the search, which takes long


def test_report_is_one_page_a_table_and_json(tmp_path: Path) -> None:
    picture = text_over((scan(1) * 0.5).astype(np.uint8), "RIGHT AXILLA")
    evil = "<img src=x onerror=alert(1)>&.png"
    samples = write(
        tmp_path / "set", {evil: picture, "b.png": twin(picture, ("mirrored",), np.random.default_rng(0)), "c.png": scan(2)}
    )
    samples = [replace(sample, label=label) for sample, label in zip(samples, ("<b>one</b>", "two", "two"), strict=True)]
    result = audit(samples)
    page = result.save(tmp_path / "report").read_text("utf-8")
    assert "<img src=x" not in page
    assert "<b>one" not in page
    assert page.count("data:image/jpeg;base64,") >= 2
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "<script" not in page
    rows = list(csv.DictReader((tmp_path / "report/audit.csv").read_text("utf-8").splitlines()))
    assert [row["id"] for row in rows] == [evil, "b.png", "c.png"]
    assert rows[0]["group"] == rows[1]["group"] != ""
    assert rows[2]["group"] == ""
    assert rows[0]["conflict"] == "yes"
    content = json.loads((tmp_path / "report/audit.json").read_text("utf-8"))
    assert content["conflicts"] == [[evil, "b.png"]]
    assert content["pairs"][0]["evidence"]
    assert {each.name for each in (tmp_path / "report").iterdir()} == {"audit.json", "audit.csv", "index.html"}


def test_the_terminal_shows_the_same_with_names_unchanged(tmp_path: Path) -> None:
    names = ("[bold]a.png", "b.png")
    samples = write(tmp_path, dict.fromkeys(names, scan(1)), dict(zip(names, ("one", "two"), strict=True)))
    console = Console(file=io.StringIO(), width=100)
    print_audit(audit(samples), console)
    output = console.file.getvalue()
    assert "[bold]a.png, b.png" in output
    assert re.search(r"groups of near-duplicates\W+1\b", output)
    assert re.search(r"label conflict\W+1\b", output)


def test_a_report_is_not_replaced_by_default(tmp_path: Path) -> None:
    result = audit(write(tmp_path, {"a.png": scan(1)}))
    result.save(tmp_path / "report")
    before = (tmp_path / "report/audit.csv").read_bytes()
    with pytest.raises(OutputExistsError, match=r"audit\.json and 2 more"):
        result.save(tmp_path / "report")
    assert (tmp_path / "report/audit.csv").read_bytes() == before
    result.save(tmp_path / "report", overwrite=True)


def test_other_input_than_samples_is_refused(tmp_path: Path) -> None:
    samples = write(tmp_path, {"a.png": scan(1)})
    for wrong, reason in (
        ([], "no scans"),
        ([samples], "not samples.*combine"),
        ([*samples, *samples], "'a.png' is the id of two"),
    ):
        with pytest.raises(OptionError, match=reason):
            audit(wrong)  # type: ignore[arg-type]
