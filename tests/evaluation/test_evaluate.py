"""A model, or external predictions, against the truth: known figures, and data that can't be evaluated."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from made import busi, save
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from typer.testing import CliRunner

import bcdseg
from bcdseg.cli import app
from bcdseg.evaluation.external_predictions import ExternalPrediction as External
from bcdseg.evaluation.external_predictions import evaluate_predictions
from bcdseg.evaluation.robustness import measure_robustness
from bcdseg.evaluation.training_overlap import remember_scans

CLASSES = ("normal", "benign", "malignant")
FIRST = "benign/benign (1).png"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bcdseg.Dataset:
    return bcdseg.open_dataset(busi(tmp_path_factory.mktemp("evaluate") / "made", (10, 11, 12)))


@pytest.fixture(scope="module")
def found(small_model: bcdseg.Model, data: bcdseg.Dataset) -> bcdseg.Evaluation:
    return bcdseg.evaluate(small_model, data, draws=100, gallery=1)


def _truth(data: bcdseg.Dataset, name: str) -> np.ndarray:
    mask = data.read(name)[1]
    assert mask is not None
    return mask


def _right(data: bcdseg.Dataset) -> dict[str, External]:
    """Return predictions with every outline and every class as in the truth."""
    return {one.id: External(_truth(data, one.id), {name: 0.8 if name == one.label else 0.1 for name in CLASSES}) for one in data}


def test_figures_of_a_model_are_those_of_its_predictions(
    found: bcdseg.Evaluation, small_model: bcdseg.Model, data: bcdseg.Dataset
) -> None:
    scans = list(small_model.predict([one.image for one in data]))
    truth = [CLASSES.index(str(one.label)) for one in data]
    shares = np.array([list(scan.probabilities.values()) for scan in scans])
    assert found["accuracy"].value == pytest.approx(accuracy_score(truth, shares.argmax(1)))
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, shares.argmax(1)))
    assert found["roc_auc/malignant"].value == pytest.approx(roc_auc_score(np.array(truth) == 2, shares[:, 2]))
    dice = []
    for one, scan in zip(data, scans, strict=True):
        mask = _truth(data, one.id)
        if mask.any():
            dice.append(2 * (scan.mask & mask).sum() / (scan.mask.sum() + mask.sum()))
    assert found["dice"].value == pytest.approx(np.mean(dice))
    assert (found["dice"].n, found["dice"].groups) == (23, 23)
    assert found.confusion.sum(axis=1).tolist() == [10, 11, 12]
    assert found.counts == {"normal": 10, "benign": 11, "malignant": 12}
    assert "33 scans in 33 groups" in repr(found)
    with pytest.raises(bcdseg.errors.OptionError, match="There are dice,"):
        found["dise"]


def test_outlines_of_known_dice(data: bcdseg.Dataset) -> None:
    given = _right(data)
    lesions = [one.id for one in data if one.label != "normal"]
    missed, doubled, invented = lesions[0], lesions[1], data.ids[-1]
    given[missed] = replace(given[missed], mask=np.zeros_like(_truth(data, missed)))
    whole = np.ones_like(_truth(data, doubled))
    given[doubled] = replace(given[doubled], mask=whole)
    assert data[invented].label == "normal"
    given[invented] = replace(given[invented], mask=np.ones_like(_truth(data, invented)))
    found = evaluate_predictions(given, data, draws=0, gallery=1)
    share = _truth(data, doubled).mean()
    assert found["dice"].value == pytest.approx((21 + 2 * share / (1 + share)) / 23)
    assert found["missed_scan_rate"].value == pytest.approx(1 / 23)
    assert found["false_lesion_rate"].value == pytest.approx(1 / 10)
    assert found["accuracy"].value == 1
    assert found["contradiction_rate"].value == pytest.approx(2 / 33)
    assert {(one.kind, one.id) for one in found.gallery} >= {("worst", missed), ("false lesion", invented)}


def test_what_predict_writes_can_be_measured(
    found: bcdseg.Evaluation, small_model: bcdseg.Model, data: bcdseg.Dataset, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from bcdseg.cli import app

    model, root = small_model.save(tmp_path / "model"), data.samples[0].image.parents[1]
    done = CliRunner().invoke(app, ["predict", str(root), "--out", str(tmp_path / "out"), "--model", str(model), "--no-overlay"])
    assert done.exit_code == 0, done.output
    again = evaluate_predictions(tmp_path / "out", data, draws=0)
    for name in ("dice", "hd95_px", "lesion_sensitivity", "accuracy", "contradiction_rate"):
        assert again[name].value == pytest.approx(found[name].value, abs=1e-9), name
    assert again["roc_auc/malignant"].value == pytest.approx(found["roc_auc/malignant"].value, abs=0.03)  # the table has 4 digits
    part = data.select(data.ids[5:])
    assert len(evaluate_predictions(tmp_path / "out", part, draws=0, subset=True).cases) == 28
    with pytest.raises(bcdseg.errors.InputError, match="not among these scans"):
        evaluate_predictions(tmp_path / "out", part, draws=0)
    (tmp_path / "out" / "benign" / "benign (2)_mask.png").unlink()
    with pytest.raises(bcdseg.errors.InputError, match=r"no mask for benign/benign \(2\).png, but for others"):
        evaluate_predictions(tmp_path / "out", data, draws=0)


def test_masks_of_one_folder_are_found_although_their_names_follow_that_folder(
    small_model: bcdseg.Model, data: bcdseg.Dataset, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from bcdseg.cli import app

    benign, out, model = data.filter(label="benign"), tmp_path / "out", small_model.save(tmp_path / "model")
    expected = bcdseg.evaluate(small_model, benign, draws=0, gallery=0)
    command = ["predict", str(benign[0].image.parent), "--out", str(out), "--model", str(model), "--no-overlay"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (out / "benign (1)_mask.png").is_file()  # the ids are benign/benign (1).png
    again = evaluate_predictions(out, benign, draws=0, gallery=0)
    assert again["dice"].value == pytest.approx(expected["dice"].value)
    for number, file in enumerate(list(out.glob("*_mask.png"))):
        file.rename(out / f"{number}_mask.png")
    with pytest.raises(bcdseg.errors.InputError, match=r"contains masks, such as .*_mask\.png, and none has the name of a scan"):
        evaluate_predictions(out, benign, draws=0)


def test_the_ground_truth_next_to_a_table_is_not_taken_for_predictions(tmp_path: Path) -> None:
    folder = busi(tmp_path / "made", (3, 3, 3))
    scans = bcdseg.open_dataset(folder)
    table = folder / "theirs.csv"
    table.write_text("id,label\n" + "".join(f"{one.id},{one.label}\n" for one in scans))
    found = evaluate_predictions(table, scans, draws=0)
    assert found["accuracy"].value == 1.0
    assert "dice" not in found.estimates
    table.write_text("id,mask\n" + "".join(f"{one.id},{one.masks[0].relative_to(folder)}\n" for one in scans if one.masks))
    with pytest.raises(bcdseg.errors.InputError, match=r"_mask\.png: is the ground truth or the image of a scan"):
        evaluate_predictions(table, scans, draws=0)


def test_a_table_and_masks_of_another_program(data: bcdseg.Dataset, tmp_path: Path) -> None:
    with (tmp_path / "theirs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "mask", *(f"probability_{name}" for name in reversed(CLASSES))])
        for at, one in enumerate(data):
            save(tmp_path / "m" / f"{at}.png", _truth(data, one.id))
            writer.writerow([one.id, f"m/{at}.png", *(float(name == one.label) for name in reversed(CLASSES))])
    found = evaluate_predictions(tmp_path / "theirs.csv", data, draws=0)
    assert (found["dice"].value, found["accuracy"].value, found.model) == (1, 1, "theirs.csv")
    save(tmp_path / "m" / "3.png", np.zeros((20, 20), bool))
    with pytest.raises(bcdseg.errors.InputError, match="20x20"):
        evaluate_predictions(tmp_path / "theirs.csv", data, draws=0)


def test_a_table_of_a_spreadsheet_is_read_and_one_that_is_torn_is_refused(data: bcdseg.Dataset, tmp_path: Path) -> None:
    table = tmp_path / "theirs.csv"
    lines = ["id;probability_normal;probability_benign;probability_malignant", *(f"{name};0.2;0.3;0.5" for name in data.ids)]
    table.write_text("\n".join(lines), encoding="utf-8-sig")
    assert evaluate_predictions(table, data, draws=0)["accuracy"].value == pytest.approx(12 / 33)
    for torn, reason in (
        ([*lines, f"{FIRST};0.9;0.1;0"], r"row 35: benign/benign \(1\).png occurs a second time"),
        ([*lines[:-1], f"{data.ids[-1]};0.9"], "row 34: .* a probability is not a number"),
    ):
        table.write_text("\n".join(torn))
        with pytest.raises(bcdseg.errors.InputError, match=reason):
            evaluate_predictions(table, data, draws=0)
    table.write_text("\n".join(lines), encoding="utf-16")
    with pytest.raises(bcdseg.errors.DatasetError, match="not UTF-8"):
        evaluate_predictions(table, data, draws=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda given: given.pop(FIRST), r"no prediction for benign/benign \(1\).png"),
        (lambda given: given.update(other=External(np.zeros((4, 4), bool))), "probabilities are of no class"),
        (lambda given: given.update(other=given[FIRST]), "predictions for other, not among"),
        (lambda given: given.update({FIRST: External(None, {"normal": 1.0, "benign": 0.5, "malignant": 0.2})}), "none may be"),
        (lambda given: given.update({FIRST: replace(given[FIRST], mask=np.ones((9, 9), bool))}), "9 x 9"),
        (lambda given: given.update({FIRST: replace(given[FIRST], mask=np.full((48, 64), 0.4))}), "Apply a threshold"),
    ],
)  # fmt: skip
def test_predictions_that_do_not_fit_are_refused(data: bcdseg.Dataset, change: object, reason: str) -> None:
    given = _right(data)
    change(given)  # type: ignore[operator]
    with pytest.raises(bcdseg.errors.InputError, match=reason):
        evaluate_predictions(given, data, draws=0)


def test_data_that_a_model_cannot_be_measured_on_are_refused(small_model: bcdseg.Model, data: bcdseg.Dataset) -> None:
    other = replace(data, samples=(replace(data[0], label="cyst"),))
    bare = replace(data, samples=(replace(data[0], label=None, masks=()),))
    for wrong, reason in ((other, "'cyst'"), (bare, "neither masks nor labels"), (data.select([]), "contains no scans")):
        with pytest.raises(bcdseg.errors.InputError, match=reason):
            bcdseg.evaluate(small_model, wrong)
    classifier = bcdseg.create("plain_cnn", classes=small_model.classes, decoder=None, size=32)
    unlabelled = replace(data, samples=(replace(data[0], label=None),))
    for measure in (bcdseg.evaluate, bcdseg.fit_site):
        with pytest.raises(bcdseg.errors.InputError, match="contains no labels"):
            measure(classifier, unlabelled)
    with pytest.raises(bcdseg.errors.OptionError, match=r"threshold=0\.3.*only classifies"):
        bcdseg.evaluate(classifier, data, threshold=0.3)
    with pytest.raises(bcdseg.errors.OptionError, match="open_dataset"):
        bcdseg.evaluate(small_model, "folder")  # type: ignore[arg-type]
    with pytest.raises(bcdseg.errors.OptionError, match="open_dataset"):
        bcdseg.calibrate(small_model, "folder")  # type: ignore[arg-type]
    with pytest.raises(bcdseg.errors.OptionError, match=r"bcdseg\.load"):
        bcdseg.evaluate("busi-lite", data)  # type: ignore[arg-type]
    for odd in ({"draws": 1.5}, {"seed": -1}, {"gallery": -1}):
        with pytest.raises(bcdseg.errors.OptionError, match="a whole number of 0 or more"):
            bcdseg.evaluate(small_model, data, **odd)  # type: ignore[arg-type]


def test_the_stated_mask_threshold_is_the_one_that_was_used(small_model: bcdseg.Model, data: bcdseg.Dataset) -> None:
    found = bcdseg.evaluate(small_model, data.select(data.ids[:1]), threshold=0.2, draws=0, gallery=0)
    assert found.about["rules"]["mask threshold"] == "0.2"


def test_subgroups_by_size_need_predicted_masks_before_any_scan_is_predicted(
    data: bcdseg.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bcdseg.Model, "predict", lambda *_, **__: pytest.fail("a scan was predicted"))
    model = bcdseg.create("plain_cnn", size=32, classes=CLASSES, decoder=None)
    with pytest.raises(bcdseg.errors.OptionError, match="'size' needs predicted masks"):
        bcdseg.evaluate(model, data, subgroups=["size"], draws=0)
    given = {name: replace(one, mask=None) for name, one in _right(data).items()}
    with pytest.raises(bcdseg.errors.OptionError, match="'size' needs predicted masks"):
        evaluate_predictions(given, data, subgroups=["size"], draws=0)


def test_outlines_alone_are_measured_by_the_class_of_the_scans(data: bcdseg.Dataset, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    outlines = {one.id: External(np.roll(_truth(data, one.id), random.integers(4), axis=1)) for one in data}
    found = evaluate_predictions(outlines, data, subgroups=["class"], draws=0, gallery=0, out=tmp_path / "report")
    assert found.counts == {"normal": 10, "benign": 11, "malignant": 12}
    malignant = [found.cases.label(at) == "malignant" for at in range(len(data))]
    assert found["dice/malignant"].value == pytest.approx(found.cases.outline["dice"][malignant].mean())
    assert {one.name: one.n for one in found.subgroups.of("class")} == found.counts  # type: ignore[union-attr]
    assert not any(one.section in ("classification", "calibration", "clinical", "both") for one in found.measures)
    with (tmp_path / "report" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["label"], rows[0]["predicted"], "probability_benign" in rows[0]) == ("benign", "", False)
    report = (tmp_path / "report" / "report.md").read_text()
    assert "### By class" in report
    assert "Classification" not in report
    both = {name: replace(one, probabilities={"benign": 0.5, "malignant": 0.4, "cyst": 0.1}) for name, one in outlines.items()}
    lesions = data.select(one.id for one in data if one.label != "normal")
    other = evaluate_predictions(both, lesions, subset=True, draws=0, gallery=0)
    alone = evaluate_predictions(outlines, lesions, subset=True, draws=0, gallery=0)
    for first, second in ((other, alone), (alone, other)):
        compared = first.compare(second)
        assert compared.differences["dice/malignant"].difference.value == 0
        assert compared.auc_tests == {}
    readers = bcdseg.compare_readers({"A": alone, "B": other}, other, draws=100)
    assert readers["dice/malignant"].first["A"] == readers["dice/malignant"].second["A"]


def test_normal_scans_without_a_mask_file_have_an_empty_mask_for_a_model_that_only_outlines(data: bcdseg.Dataset) -> None:
    bare = replace(data, samples=tuple(replace(one, masks=()) if one.label == "normal" else one for one in data))
    model = bcdseg.create("plain_cnn", classes=[], head=None, size=32)
    found = bcdseg.evaluate(model, bare, draws=0, gallery=0)
    assert (found["false_lesion_rate"].n, found["dice/benign"].n) == (10, 11)


def test_heat_maps_of_a_model_without_classes_are_refused(data: bcdseg.Dataset) -> None:
    model = bcdseg.create("plain_cnn", classes=[], head=None, size=32)
    with pytest.raises(bcdseg.errors.OptionError, match="no class to explain"):
        bcdseg.evaluate(model, data, explain=True, draws=0)


def test_a_table_may_name_a_class_that_no_scan_has_and_must_name_some(data: bcdseg.Dataset, tmp_path: Path) -> None:
    scans = data.select(one.id for one in data if one.label != "malignant")
    rows = [f"{name},{'malignant' if name == FIRST else scans[name].label}" for name in scans.ids]
    (tmp_path / "reader.csv").write_text("\n".join(["id,label", *rows]))
    found = evaluate_predictions(tmp_path / "reader.csv", scans, draws=0, gallery=0)
    assert found["accuracy"].value == pytest.approx(20 / 21)
    assert found.counts["malignant"] == 0
    (tmp_path / "reader.csv").write_text("\n".join(["id,label", *(f"{name}," for name in scans.ids)]))
    with pytest.raises(bcdseg.errors.InputError, match="neither masks nor classes"):
        evaluate_predictions(tmp_path / "reader.csv", scans, draws=0, gallery=0)


def test_a_report_that_cannot_be_written_is_refused_before_scans_are_predicted(
    small_model: bcdseg.Model, data: bcdseg.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    missing = replace(data, samples=(replace(data[0], image=tmp_path / "missing.png"),))
    for folder in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(bcdseg.errors.OutputError, match="file is not a folder"):
            bcdseg.evaluate(small_model, missing, out=folder)


def test_options_may_be_numbers_of_numpy(small_model: bcdseg.Model, data: bcdseg.Dataset, tmp_path: Path) -> None:
    some = data.select(data.ids[:3])
    found = bcdseg.evaluate(
        small_model,
        some,
        draws=np.int64(50),
        seed=np.int64(1),
        gallery=np.int64(0),
        prevalence=np.float32(0.5),
        threshold=np.float32(0.5),
        batch_size=np.int64(2),
        out=tmp_path / "report",
    )
    assert (tmp_path / "report" / "report.json").is_file()
    assert found["dice"].n == bcdseg.evaluate(small_model, some, draws=0, gallery=0)["dice"].n


def test_predictions_are_found_in_either_unicode_form_of_an_id(data: bcdseg.Dataset, tmp_path: Path) -> None:
    one, other = "Müller", "Zoë"
    scans = replace(data, samples=(replace(data[0], id=one), replace(data[1], id=normalize("NFD", other))))
    for form in ("NFC", "NFD"):
        folder = tmp_path / form
        for name in (one, other):
            save(folder / f"{normalize(form, name)}_mask.png", np.zeros(scans.read(scans[0])[0].shape[:2], bool))
        assert evaluate_predictions(folder, scans, draws=0, gallery=0)["dice"].n == 2
        table = tmp_path / f"{form}.csv"
        table.write_text("\n".join(["id,label", *(f"{normalize(form, name)},benign" for name in (one, other))]))
        assert evaluate_predictions(table, scans, draws=0, gallery=0)["accuracy"].n == 2
    with pytest.raises(bcdseg.errors.OptionError, match=r"predictions=<Dataset .*give a folder"):
        evaluate_predictions(scans, scans)  # type: ignore[arg-type]


def test_spellings_of_a_class_in_a_table_are_those_of_the_data_set(data: bcdseg.Dataset, tmp_path: Path) -> None:
    table = tmp_path / "reader.csv"
    table.write_text("\n".join(["id,label", *(f"{one.id},{(one.label or '').title()}" for one in data)]))
    with pytest.warns(bcdseg.errors.DataWarning, match="'Benign' is 'benign'"):
        found = evaluate_predictions(table, data, draws=0, gallery=0)
    assert (found["accuracy"].value, found.cases.classes) == (1, data.classes)


def test_labels_that_differ_from_a_class_of_the_model_only_in_case_are_that_class(
    small_model: bcdseg.Model, data: bcdseg.Dataset
) -> None:
    spelled = data.map_labels({"benign": "BENIGN", "malignant": "Malignant"})
    expected = bcdseg.evaluate(small_model, data, draws=0, gallery=0)
    with pytest.warns(bcdseg.errors.DataWarning, match=f"spellings of classes of {small_model.name}: 'BENIGN' is 'benign', 'Mal"):
        found = bcdseg.evaluate(small_model, spelled, draws=0, gallery=0)
    assert (found["accuracy"].value, found["dice/benign"].value) == (expected["accuracy"].value, expected["dice/benign"].value)
    halves = {"one": data.select(data.ids[::2]), "other": spelled.select(data.ids[1::2])}
    with pytest.warns(bcdseg.errors.DataWarning, match="'Malignant' is 'malignant'"):
        external = bcdseg.evaluate_external(small_model, halves, draws=0, gallery=0)
    assert external["other"]["accuracy"].n == len(halves["other"])
    given = {one.id: External(None, {"Benign": 0.5, "Malignant": 0.3, "Normal": 0.2}) for one in data}
    with pytest.warns(bcdseg.errors.DataWarning, match="'benign' is 'Benign'"):
        assert evaluate_predictions(given, data, draws=0, gallery=0)["accuracy"].n == len(data)


def test_labels_that_are_not_the_most_probable_class_are_reported(data: bcdseg.Dataset, tmp_path: Path) -> None:
    head = "id,label,probability_normal,probability_benign,probability_malignant"
    rows = [f"{one.id},malignant,0.3,0.4,0.3" if one.id == FIRST else f"{one.id},malignant,0.2,0.4,0.4" for one in data]
    (tmp_path / "point.csv").write_text("\n".join([head, *rows]))
    with pytest.warns(bcdseg.errors.DataWarning, match="the label of 1 scan, such as benign/benign"):
        found = evaluate_predictions(tmp_path / "point.csv", data, draws=0, gallery=0)
    assert found["class_recall/benign"].value == 1


def test_tables_of_the_engine_ray_and_of_a_spreadsheet_have_the_classes(data: bcdseg.Dataset, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"source": str(one.image), **{f"probability_{name}": float(name == one.label) for name in CLASSES}} for one in data]
    frame = pandas.DataFrame([*rows, {"source": "broken.png", "error": "can't be read"}])
    (tmp_path / "run").mkdir()
    frame.to_parquet(tmp_path / "run" / "predictions.parquet")
    frame.to_excel(tmp_path / "theirs.xlsx", index=False)
    for given in (tmp_path / "run", tmp_path / "theirs.xlsx"):
        assert evaluate_predictions(given, data, draws=0, gallery=0)["accuracy"].value == 1


def test_masks_of_a_run_over_one_folder_of_an_archive_are_found(tmp_path: Path) -> None:
    root = busi(tmp_path / "archive", {"benign": 2})
    scans = sorted(path for path in (root / "benign").iterdir() if "_mask" not in path.name)
    truth = [path.with_name(f"{path.stem}_mask.png") for path in scans]
    (tmp_path / "data.csv").write_text(
        "\n".join(["image,mask", *(f"{scan},{mask}" for scan, mask in zip(scans, truth, strict=True))])
    )
    data = bcdseg.open_dataset(tmp_path / "data.csv")
    for scan in scans:  # as `predict archive` writes them
        save(tmp_path / "out" / "benign" / f"{scan.stem}_mask.png", data.read(data.ids[scans.index(scan)])[1])
    (tmp_path / "out" / "predictions.csv").write_text("\n".join(["source", *map(str, scans)]))
    assert evaluate_predictions(tmp_path / "out", data, draws=0, gallery=0)["dice"].value == 1


def test_the_command_reports_a_fact_that_is_named_twice_and_strips_classes(data: bcdseg.Dataset, tmp_path: Path) -> None:
    (tmp_path / "reader.csv").write_text("\n".join(["id,label", *(f"{one.id},{one.label}" for one in data)]))
    command = ["evaluate", str(tmp_path / "reader.csv"), str(data.samples[0].image.parents[1]), "--out", str(tmp_path / "report")]
    twice = CliRunner().invoke(app, [*command, "--subgroup", "age:50", "--subgroup", "age:70"]).exception
    assert "--subgroup age is given twice" in str(twice)
    order = CliRunner().invoke(app, [*command, "--class-order", "normal, cyst"]).exception
    assert "class_order=['normal', 'cyst']" in str(order)


def test_masks_alone_in_a_mapping_are_refused(data: bcdseg.Dataset) -> None:
    with pytest.raises(bcdseg.errors.OptionError, match=r"ExternalPrediction\(mask=mask\)"):
        evaluate_predictions({one.id: _truth(data, one.id) for one in data}, data)  # type: ignore[misc]


def test_a_prevalence_without_a_malignant_class_is_refused(data: bcdseg.Dataset) -> None:
    outlines = {name: External(one.mask) for name, one in _right(data).items()}
    with pytest.raises(bcdseg.errors.OptionError, match="the predicted classes are none"):
        evaluate_predictions(outlines, data, prevalence=0.05)
    model = bcdseg.create("plain_cnn", classes=("healthy", "cancer"), size=32)
    scans = data.map_labels({"normal": "healthy", "benign": "healthy", "malignant": "cancer"})
    with pytest.raises(bcdseg.errors.OptionError, match="the predicted classes are healthy, cancer"):
        bcdseg.evaluate(model, scans, prevalence=0.05)


def test_with_one_class_undefined_measures_have_a_reason(small_model: bcdseg.Model, data: bcdseg.Dataset) -> None:
    benign = data.select(one.id for one in data if one.label == "benign")
    found = bcdseg.evaluate(small_model, benign, draws=50, gallery=0)
    area = found["roc_auc/malignant"]
    assert (area.value, area.low) == (None, None)
    assert area.note == "there are no malignant scans"
    assert found["dice"].value is not None
    assert not any(one.value is not None and np.isnan(one.value) for one in found.estimates.values())
    normal = bcdseg.evaluate(small_model, data.select(one.id for one in data if one.label == "normal"), draws=50, gallery=1)
    assert normal["dice"].value is None
    assert normal["false_lesion_rate"].value is not None
    specificity = normal["class_specificity/malignant"]  # needs no malignant scans
    assert specificity.value == pytest.approx(np.mean(normal.cases.predicted != CLASSES.index("malignant")))
    assert (specificity.n, specificity.low is not None) == (10, True)
    assert normal["class_specificity/normal"].note == "there are no scans that are not normal"


@pytest.mark.parametrize("kind", ["outlines", "classes"])
def test_models_with_one_output_and_data_with_half_the_truth(data: bcdseg.Dataset, kind: str) -> None:
    if kind == "outlines":
        model = bcdseg.create("plain_cnn", classes=[], head=None, size=32)
    else:
        model = bcdseg.create("plain_cnn", classes=CLASSES, decoder=None, size=32)
    found = bcdseg.evaluate(model, data, draws=20, gallery=1)
    assert ("dice" in found.estimates) == (kind == "outlines")
    assert ("accuracy" in found.estimates) == (kind == "classes")
    drop = {"label": None} if kind == "classes" else {"masks": ()}
    half = replace(data, samples=tuple(replace(one, **drop) if at % 2 else one for at, one in enumerate(data)))  # type: ignore[arg-type]
    measured = bcdseg.evaluate(model, half, draws=0, gallery=0)
    known = {"classes": 17, "outlines": 17 + sum(one.label == "normal" for one in data.samples[1::2])}
    assert sum(measured.cases.has_class if kind == "classes" else measured.cases.has_mask) == known[kind]


def test_scans_seen_in_training_are_refused_or_reported(data: bcdseg.Dataset, found: bcdseg.Evaluation) -> None:
    model = bcdseg.create("plain_cnn", classes=CLASSES, decoder=None, size=32)
    model.training = {"summary": "made", "seen": remember_scans(data.select(data.ids[:2]))}
    with pytest.raises(bcdseg.errors.LeakError, match=r"2 of these 33 scans"):
        bcdseg.evaluate(model, data)
    allowed = bcdseg.evaluate(model, data, allow_training_samples=True, draws=0, gallery=0)
    assert allowed.training_overlap == "allowed"
    assert "evaluated on them on purpose" in repr(allowed)
    assert bcdseg.evaluate(model, data.select(data.ids[2:]), draws=0, gallery=0).training_overlap == "none"
    assert found.training_overlap == "unknown"
    assert "can't be ruled out" in repr(found)


def test_two_models_are_compared_scan_by_scan(found: bcdseg.Evaluation, data: bcdseg.Dataset) -> None:
    same = found.compare(found)
    assert {one.difference.value for one in same.differences.values()} <= {0.0, None}
    perfect = evaluate_predictions(_right(data), data, name="perfect", draws=100, gallery=0)
    better = perfect.compare(found)
    assert better.differences["dice"].difference.value == pytest.approx(1 - float(found["dice"].value or 0))
    assert "perfect is better than" in better.sentence("dice")
    assert "<Comparison of perfect with new plain_cnn>" in repr(better)
    for title in ("Dice", "Accuracy", "ROC-AUC, malignant against rest"):
        assert f"  {title}: " in repr(better)
    with pytest.raises(bcdseg.errors.OptionError, match="is not an evaluation"):
        found.compare("bus-multi")  # type: ignore[arg-type]
    with pytest.raises(bcdseg.errors.InputError, match="same scans"):
        found.compare(evaluate_predictions(_right(data.select(data.ids[1:])), data.select(data.ids[1:]), draws=0))


def test_worse_scans_repeatably(small_model: bcdseg.Model, data: bcdseg.Dataset) -> None:
    few = data.select(data.ids[::3])
    first, second = (measure_robustness(small_model, few, degradations=("noise", "crop"), draws=20, seed=3) for _ in range(2))
    assert (first.steps, first.untouched) == (second.steps, second.untouched)
    assert [(step.degradation, step.strength) for step in first.steps] == [
        ("noise", 0.04), ("noise", 0.08), ("noise", 0.16), ("crop", 0.9), ("crop", 0.8), ("crop", 0.7)
    ]  # fmt: skip
    plain = bcdseg.evaluate(small_model, few, draws=20, seed=3, gallery=0)
    assert first.untouched["dice"] == plain["dice"]
    assert "noise 0.04" in repr(first)
    for step in first.steps:
        for name, change in step.changes.items():
            values = first.untouched[name].value, step.estimates[name].value
            assert None in values or change.value == pytest.approx(values[1] - values[0])  # type: ignore[operator]
    with pytest.raises(bcdseg.errors.OptionError, match="'noise', 'gain'"):
        measure_robustness(small_model, few, degradations=("rain",))


def test_subgroups_by_size_need_a_lesion_before_any_scan_is_predicted(
    small_model: bcdseg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = bcdseg.open_dataset(busi(tmp_path / "normal", (3, 0, 0)))
    monkeypatch.setattr(bcdseg.Model, "predict", lambda *_, **__: pytest.fail("a scan was predicted"))
    with pytest.raises(bcdseg.errors.OptionError, match="all masks of normal are empty"):
        bcdseg.evaluate(small_model, empty, subgroups=["size"], draws=0)


def test_figures_of_other_origin_are_refused_before_any_scan_is_predicted(
    small_model: bcdseg.Model, data: bcdseg.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "roc.png").write_bytes(b"mine")
    monkeypatch.setattr(bcdseg.Model, "predict", lambda *_, **__: pytest.fail("a scan was predicted"))
    with pytest.raises(bcdseg.errors.OutputExistsError, match=r"roc\.png"):
        bcdseg.evaluate(small_model, data, out=tmp_path)
    assert (tmp_path / "figures" / "roc.png").read_bytes() == b"mine"


def test_the_report_states_the_presence_threshold_of_a_model_that_has_one(data: bcdseg.Dataset) -> None:
    model = bcdseg.create("plain_cnn", classes=CLASSES, size=32)
    scan = data.select(data.ids[:1])
    assert "presence threshold" not in bcdseg.evaluate(model, scan, draws=0, gallery=0).about["rules"]
    model.rules = replace(model.rules, presence_threshold=0.3)
    assert bcdseg.evaluate(model, scan, draws=0, gallery=0).about["rules"]["presence threshold"] == "0.3"
