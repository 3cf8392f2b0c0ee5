"""The table of cases and the measures over it, against the same done scan by scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_cases import CLASSES, disc, made_case, made_table
from sklearn import metrics as sk

from bcdseg.errors import InputError
from bcdseg.evaluation.measures.catalogue import all_measures, spreads
from bcdseg.evaluation.measures.intervals import estimate
from bcdseg.evaluation.measures.measure import DIGITS, SECTIONS
from bcdseg.evaluation.metrics.classification import joint_score
from bcdseg.evaluation.metrics.outline import score_mask
from bcdseg.evaluation.results_table import Case, as_case, pooled, table_of


def values(cases: object) -> dict[str, float | None]:
    return {name: one.value for name, one in estimate(cases, all_measures(cases), draws=0).items()}  # type: ignore[arg-type]


def test_measures_of_a_table_are_those_of_its_scans_one_by_one() -> None:
    cases = made_table(150)
    rows = [as_case(cases, at) for at in range(150)]
    found = values(cases)
    lesions = [row.outline for row in rows if row.outline and row.outline.truth_area > 0]
    clear = [row for row in rows if row.outline and row.outline.truth_area == 0]
    for name in ("dice", "iou", "precision", "recall", "hd95_px", "assd_px", "boundary_f1"):
        column = [getattr(one, name) for one in lesions]
        assert found[name] == pytest.approx(np.mean(column))
        assert found[f"{name}/median"] == pytest.approx(np.median(column))
    small = [one.dice for one in lesions if one.truth_area < 0.03]
    assert found["dice/small"] == pytest.approx(np.mean(small))
    malignant = [row.outline.dice for row in rows if row.label == "malignant" and row.outline]
    assert found["dice/malignant"] == pytest.approx(np.mean(malignant))
    assert found["lesion_sensitivity"] == sum(one.lesions_found for one in lesions) / sum(one.lesions_true for one in lesions)
    assert found["false_lesion_rate"] == pytest.approx(np.mean([row.outlined for row in clear]))
    assert found["missed_scan_rate"] == pytest.approx(np.mean([not row.outlined for row in rows if row.label != "normal"]))


def test_measures_of_classes_are_scikit_learns() -> None:
    cases = made_table(150)
    found, shares, called = values(cases), cases.probabilities, cases.predicted
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(cases.labels, called))
    assert found["class_recall/malignant"] == pytest.approx(sk.recall_score(cases.labels == 2, called == 2))
    assert found["roc_auc_macro"] == pytest.approx(sk.roc_auc_score(cases.labels, shares, multi_class="ovr"))
    assert found["roc_auc/malignant"] == pytest.approx(sk.roc_auc_score(cases.labels == 2, shares[:, 2]))
    pair = cases.labels > 0
    among = shares[pair, 2] / (shares[pair, 1] + shares[pair, 2])
    assert found["roc_auc/malignant-benign"] == pytest.approx(sk.roc_auc_score(cases.labels[pair] == 2, among))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(cases.labels, called))


def test_the_joint_score_and_contradictions_are_those_that_training_uses() -> None:
    cases = made_table(80)
    found = values(cases)
    rows = [as_case(cases, at) for at in range(80)]
    expected = joint_score(
        lesion_dice=[row.outline.dice for row in rows if row.outline and row.outline.truth_area > 0],
        normal_clean=[not row.outlined for row in rows if row.outline and row.outline.truth_area == 0],
        balanced_accuracy=found["balanced_accuracy"],
    )
    assert found["joint_score"] == pytest.approx(expected)
    odd = [row.outlined == (int(np.argmax(row.probabilities)) == 0) for row in rows]  # type: ignore[arg-type]
    assert found["contradiction_rate"] == pytest.approx(np.mean(odd))


def test_the_joint_score_has_no_interval_where_its_balanced_accuracy_has_none() -> None:
    cases = made_table(80)
    few = cases.select(np.concatenate([np.flatnonzero(cases.labels < 2), np.flatnonzero(cases.labels == 2)[:5]]))
    found = estimate(few, all_measures(few), draws=50)
    for name in ("balanced_accuracy", "joint_score"):
        assert found[name].value is not None
        assert (found[name].low, "only 5 groups of malignant scans" in found[name].note) == (None, True)


def test_unknown_masks_and_labels_add_nothing() -> None:
    cases = [made_case(at) for at in range(60)]
    some = [
        replace(case, label=None if at % 3 == 0 else case.label, outline=None if at % 4 == 0 else case.outline)
        for at, case in enumerate(cases)
    ]
    table = table_of(some, classes=CLASSES, no_lesion="normal")
    labelled = table_of([case for at, case in enumerate(cases) if at % 3], classes=CLASSES, no_lesion="normal")
    masked = table_of([case for at, case in enumerate(cases) if at % 4], classes=CLASSES, no_lesion="normal")
    found = values(table)
    assert found["balanced_accuracy"] == pytest.approx(values(labelled)["balanced_accuracy"])
    assert found["brier"] == pytest.approx(values(labelled)["brier"])
    assert found["dice"] == pytest.approx(values(masked)["dice"])
    assert found["false_lesion_rate"] == pytest.approx(values(masked)["false_lesion_rate"])


def test_a_model_with_one_head_has_the_measures_of_that_head() -> None:
    full = [made_case(at) for at in range(40)]
    masks = table_of([replace(case, probabilities=None, logits=None) for case in full], classes=CLASSES, no_lesion="normal")
    calls = table_of([replace(case, outline=None, outlined=None) for case in full], classes=CLASSES, no_lesion="normal")
    sections = [{measure.section for measure in all_measures(table)} for table in (masks, calls)]
    assert sections == [{"segmentation", "size", "detection"}, {"classification", "clinical", "calibration"}]
    assert "contradiction_rate" not in values(masks)
    unknown = table_of([replace(case, label=None, outline=None) for case in full], classes=CLASSES, no_lesion="normal")
    assert set(values(unknown)) == {"contradiction_rate"}
    empty = table_of([], classes=CLASSES, no_lesion="normal")
    assert all_measures(empty) == ()


def test_classes_of_any_name_work_and_no_positive_class_is_invented() -> None:
    rows = [Case(id=str(at), label="ab"[at % 2], probabilities=[0.7, 0.3] if at % 3 else [0.2, 0.8]) for at in range(30)]
    table = table_of(rows, classes=["a", "b"])
    assert table.positive is None
    assert not any(name.startswith("sensitivity_at") for name in values(table))
    chosen = table_of(rows, classes=["a", "b"], positive="b")
    assert "sensitivity_at_0.90" in values(chosen)
    with pytest.raises(InputError, match="positive='c': choose one of the classes: a, b"):
        table_of(rows, classes=["a", "b"], positive="c")


def test_millimetres_are_measured_where_they_are_known() -> None:
    truth, predicted = disc((48, 64), (20, 30), 8), disc((48, 64), (24, 30), 8)
    known = Case(
        id="a", label="benign", outlined=True, outline=score_mask(truth, predicted, spacing=(0.5, 0.5)), spacing=(0.5, 0.5)
    )
    other = Case(id="b", label="benign", outlined=True, outline=score_mask(truth, truth))
    table = table_of([known, other], classes=CLASSES, no_lesion="normal")
    found = values(table)
    assert known.outline is not None
    assert found["hd95_mm"] == pytest.approx(known.outline.hd95_px / 2)
    assert found["hd95_px"] == pytest.approx(known.outline.hd95_px / 2)  # the mean of it and 0
    assert "hd95_mm" not in values(made_table(20))


def test_every_measure_has_its_own_name_and_description() -> None:
    measures = all_measures(made_table(40))
    assert len({measure.name for measure in measures}) == len(measures)
    assert len({(measure.title, measure.unit) for measure in measures}) == len(measures)
    for measure in measures:
        assert measure.section in SECTIONS
        assert measure.unit in DIGITS
        assert measure.definition.endswith(".")


def test_spreads_have_median_and_quartiles_by_class_and_size() -> None:
    cases = made_table(100)
    found = {(one.measure, one.subset): one for one in spreads(cases)}
    column = cases.outline["dice"][cases.lesion]
    whole = found["dice", ""]
    assert (whole.low, whole.median, whole.high) == pytest.approx(tuple(np.quantile(column, (0.25, 0.5, 0.75))))
    assert (whole.n, whole.sd) == (len(column), pytest.approx(column.std(ddof=1)))
    assert sum(found["dice", size].n for size in ("small", "medium", "large")) == len(column)


def test_tables_can_be_taken_apart_and_pooled_again() -> None:
    cases = made_table(30, per_group=2)
    again = pooled([cases.select(np.arange(30) < 11), cases.select(np.arange(11, 30))])
    assert [as_case(again, at) for at in range(30)] == [as_case(cases, at) for at in range(30)]
    assert values(again) == values(cases)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Case(id="a"), Case(id="a")], "a: occurs twice"),
        ([Case(id="a", label="cyst")], "a: its label 'cyst' is not one of the model's classes: normal, benign, malignant"),
        ([Case(id="a", probabilities=[0.5, 0.5])], r"a: \[0.5, 0.5\] is not one finite number for each of normal"),
        ([Case(id="a", probabilities=[0.5, 0.5, float("nan")])], "is not one finite number"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_name(rows: list[Case], message: str) -> None:
    with pytest.raises(InputError, match=message):
        table_of(rows, classes=CLASSES)
