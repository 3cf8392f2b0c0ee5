"""Intervals and paired differences, and their coverage on made patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_cases import CLASSES, made_case, made_table

from bcdseg.errors import InputError, OptionError
from bcdseg.evaluation.measures.catalogue import MeasureOptions, all_measures
from bcdseg.evaluation.measures.intervals import compare, estimate, matched, resamples
from bcdseg.evaluation.measures.measure import Estimate, Measure
from bcdseg.evaluation.results import Evaluation
from bcdseg.evaluation.results_table import Case, Cases, table_of
from bcdseg.inference.rules import OperatingPoint, Rules


def named(cases: Cases, *names: str) -> list[Measure]:
    found = {measure.name: measure for measure in all_measures(cases)}
    return [found[name] for name in names]


def patients(groups: int, seed: int) -> Cases:
    """Return patients with one to six similar scans: mostly right or wrong together."""
    random = np.random.default_rng(seed)
    rows = []
    for group in range(groups):
        label, skill = ("benign", "malignant")[group % 2], random.beta(3, 1)
        for scan in range(random.integers(1, 7)):
            right = random.random() < skill
            called = label if right else ("malignant" if label == "benign" else "benign")
            rows.append(
                Case(
                    id=f"{group}-{scan}", group=str(group), label=label, probabilities=[0.9 * (name == called) for name in CLASSES]
                )
            )
    return table_of(rows, classes=CLASSES, no_lesion="normal")


def test_intervals_over_groups_hold_the_truth_in_about_95_of_100_sets_and_those_over_scans_do_not() -> None:
    truth, sets = 0.75, 200  # the mean of a beta(3, 1)
    hits = {"groups": 0, "scans": 0}
    for seed in range(sets):
        grouped = patients(40, seed)
        for name, cases in (("groups", grouped), ("scans", replace(grouped, groups=grouped.ids))):
            found = estimate(cases, named(cases, "accuracy"), draws=300)["accuracy"]
            assert found.low is not None
            assert found.high is not None
            hits[name] += found.low <= truth <= found.high
    assert 0.91 <= hits["groups"] / sets <= 0.985
    assert hits["scans"] < hits["groups"]


def test_whole_groups_are_drawn_and_no_class_vanishes() -> None:
    cases = made_table(90, per_group=3)
    weights = np.concatenate([*resamples(cases, draws=200)])
    assert weights.shape == (200, 90)
    for group in np.unique(cases.group_numbers):
        together = weights[:, cases.group_numbers == group]
        assert (together == together[:, :1]).all()
    rare = table_of(
        [made_case(at, label="malignant" if at < 2 else "benign") for at in range(60)], classes=CLASSES, no_lesion="normal"
    )
    drawn = np.concatenate([*resamples(rare, draws=300)])
    assert (drawn[:, rare.labels == 2].sum(axis=1) == 2).all()


def test_the_same_seed_gives_the_same_interval_and_more_scans_a_narrower_one() -> None:
    few, many = made_table(40), made_table(400)
    measures = named(few, "dice")
    one = estimate(few, measures, seed=3)
    assert one == estimate(few, measures, seed=3)
    assert one != estimate(few, measures, seed=4)
    wide, narrow = (found["dice"] for found in (one, estimate(many, measures)))
    assert narrow.high - narrow.low < wide.high - wide.low  # type: ignore[operator]
    assert wide.low <= wide.value <= wide.high  # type: ignore[operator]


def test_a_set_too_small_for_an_interval_has_a_reason_and_keeps_its_value() -> None:
    cases = made_table(40, per_group=5)
    found = estimate(cases, named(cases, "accuracy", "dice"))
    assert (found["accuracy"].n, found["accuracy"].groups) == (40, 8)
    assert found["accuracy"].value is not None
    assert (found["accuracy"].low, found["accuracy"].high) == (None, None)
    assert found["accuracy"].note == (
        "only 8 groups of scans of known and predicted class: too few for an interval, which needs 10"
    )


def test_an_undefined_measure_has_a_reason_and_is_never_nan() -> None:
    benign = table_of([made_case(at, label="benign") for at in range(30)], classes=CLASSES, no_lesion="normal")
    found = estimate(benign, all_measures(benign))
    assert found["roc_auc/malignant"].value is None
    assert found["roc_auc/malignant"].note == "there are no malignant scans"
    assert found["roc_auc_macro"].note == "there are no scans of a second class"
    assert found["mcc"].value is None
    for one in found.values():
        assert all(value is None or np.isfinite(value) for value in (one.value, one.low, one.high))
        assert one.note or (one.low is not None and one.high is not None)


def test_all_right_is_not_certainty() -> None:
    sure = [replace(made_case(at, label="benign"), probabilities=(0, 1, 0)) for at in range(20)]
    cases = table_of(sure, classes=CLASSES, no_lesion="normal")
    found = estimate(cases, named(cases, "class_recall/benign"))["class_recall/benign"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 20))
    assert "in all 20 groups" in found.note


def test_a_figure_that_no_draw_changes_has_no_interval_of_width_0() -> None:
    always = [replace(made_case(at, label=CLASSES[at % 3]), probabilities=(0, 1, 0)) for at in range(60)]
    found = estimate(table_of(always, classes=CLASSES, no_lesion="normal"), named(made_table(30), "accuracy"))["accuracy"]
    assert found.value == pytest.approx(1 / 3)  # draws keep the number of each class
    assert (found.low, found.note) == (None, "at least 95 % of the draws give the same")


def test_an_interval_has_a_width_and_contains_its_value() -> None:
    cases = made_table(60)

    def estimated(values: list[float], most: float) -> Estimate:
        """Return the estimate of a measure of these values, the first on the scans themselves and all by turns in the draws."""
        (dice,) = named(cases, "dice")
        return estimate(cases, [replace(dice, limits=(0, most), values=lambda _, draws: np.resize(values, len(draws)))])["dice"]

    rarely_less = estimated([1.0] * 49 + [0.9], 1)
    assert rarely_less.low < rarely_less.value == rarely_less.high  # type: ignore[operator]
    skewed = estimated([2.0, 1.0, 0.0] * 16 + [1000.0], 2000)
    assert skewed.low <= skewed.value <= skewed.high  # type: ignore[operator]
    seldom_more = estimated([0.0] * 95 + [0.001] * 3 + [1.0] * 2, 1)
    assert seldom_more.low == seldom_more.value < seldom_more.high  # type: ignore[operator]


def test_an_interval_contains_only_possible_values() -> None:
    cases = made_table(40, skill=3.0)
    found = estimate(cases, all_measures(cases, MeasureOptions(class_order=CLASSES)), draws=300)
    for name, low, high in (("kappa", -1, 1), ("mcc", -1, 1), ("kappa_quadratic", -1, 1), ("brier", 0, 2), ("nll", 0, np.inf)):
        assert found[name].low is not None
        assert low <= found[name].low < found[name].value < found[name].high <= high  # type: ignore[operator]
    biopsies = estimate(made_table(40, skill=2.0), named(cases, "number_needed_to_biopsy"), draws=300)["number_needed_to_biopsy"]
    assert biopsies.low == 1


def test_weighted_draws_give_the_interval_of_tables_with_repeated_rows() -> None:
    def values(cases: Cases, weights: np.ndarray) -> np.ndarray:
        tables = (cases.select(np.repeat(np.arange(len(cases)), draw.astype(int))) for draw in weights)
        return np.array([table.outline["dice"][table.lesion].mean() for table in tables])

    cases = made_table(60)
    (dice,) = named(cases, "dice")
    slow = replace(dice, values=values)
    ends = [(one.value, one.low, one.high) for one in (estimate(cases, [kind], draws=50)["dice"] for kind in (slow, dice))]
    assert ends[0] == pytest.approx(ends[1])


def test_paired_differences_are_surer_than_two_intervals() -> None:
    weak, strong = made_table(300, skill=1.0), made_table(300, skill=1.6)
    measures = named(weak, "balanced_accuracy", "dice", "brier")
    found = compare(weak, strong, measures)
    change = found["balanced_accuracy"].difference
    alone = estimate(weak, measures)["balanced_accuracy"]
    assert change.value == pytest.approx(found["balanced_accuracy"].second - found["balanced_accuracy"].first)  # type: ignore[operator]
    assert 0 < change.low < change.value < change.high  # type: ignore[operator]
    assert change.high - change.low < alone.high - alone.low  # type: ignore[operator]
    assert found["balanced_accuracy"].sentence("A", "B").startswith("Balanced accuracy: B is better than A by 0.")
    assert found["brier"].sentence("A", "B").startswith("Brier score: B is better than A by 0.")
    assert "A and B are equal" in found["dice"].sentence("A", "B")  # the outlines are the same
    nearly = replace(weak, probabilities=weak.probabilities + 1e-5 * (np.eye(3)[weak.labels] - weak.probabilities))
    assert compare(weak, nearly, measures)["brier"].sentence("A", "B").startswith("Brier score: A and B are equal (95 % interval")
    shaken = replace(weak, probabilities=weak.probabilities + np.random.default_rng(0).normal(0, 0.05, (300, 3)))
    alike = compare(weak, shaken, measures)["balanced_accuracy"]
    assert "no difference between A and B is shown" in alike.sentence("A", "B")
    assert compare(strong, weak, measures)["brier"].sentence("A", "B").startswith("Brier score: A is better than B")


def test_shares_differ_by_one_at_most() -> None:
    right, wrong = made_table(40, skill=50.0), made_table(40, skill=-2.0)
    change = compare(wrong, right, named(right, "accuracy"))["accuracy"].difference
    assert change.low is not None
    assert change.high is not None
    assert 0.5 < change.low < change.high <= 1


def test_models_are_compared_on_the_same_scans_in_any_order_only() -> None:
    first = made_table(30)
    assert matched(first, first.select(np.arange(30)[::-1])).ids == first.ids
    with pytest.raises(InputError, match=rf"{first.ids[0]}: is not among the cases of the second model"):
        compare(first, first.select(np.arange(1, 30)), named(first, "dice"))
    other = replace(first, labels=np.where(np.arange(30) == 4, (first.labels + 1) % 3, first.labels))
    with pytest.raises(InputError, match=f"{first.ids[4]}: its label is not the same"):
        compare(first, other, named(first, "dice"))
    with pytest.raises(InputError, match="group is not the same"):
        compare(first, replace(first, groups=("a",) * 30), named(first, "dice"))
    with pytest.raises(OptionError, match="draws=-1"):
        estimate(first, named(first, "dice"), draws=-1)


def test_a_model_without_masks_is_compared_in_what_both_have() -> None:
    full = [made_case(at) for at in range(60)]
    bare = [replace(case, outline=None, outlined=None) for case in full]
    tables = [table_of(rows, classes=CLASSES, no_lesion="normal") for rows in (full, bare)]
    found = compare(*tables, named(tables[1], "accuracy"))
    assert (
        found["accuracy"].sentence("A", "B")
        == "Accuracy: A and B are equal; no interval: at least 95 % of the draws give the same."
    )
    found = compare(*tables, named(tables[0], "dice"))["dice"]
    assert found.second is None
    assert found.sentence("A", "B") == "Dice: no comparison: there are no scans with a lesion."


def test_a_class_that_one_model_never_predicted_has_no_difference() -> None:
    full = [made_case(at) for at in range(60)]
    silent = [replace(case, probabilities=None) if case.label == "malignant" else case for case in full]
    tables = [table_of(rows, classes=CLASSES, no_lesion="normal") for rows in (full, silent)]
    for first, second in (tables, tables[::-1]):
        found = compare(first, second, named(tables[0], "roc_auc/malignant", "balanced_accuracy"))
        assert found["roc_auc/malignant"].difference.value is None
        assert found["roc_auc/malignant"].difference.note == "there are no malignant scans"


def test_without_draws_there_are_values_and_no_intervals() -> None:
    found = estimate(made_table(30), named(made_table(30), "dice"), draws=0)["dice"]
    assert found.value is not None
    assert (found.low, found.note) == (None, "no interval was requested")


def test_each_model_is_compared_at_its_own_operating_point() -> None:
    cases = made_table(90)
    one, other = (_at_threshold(cases, threshold) for threshold in (0.2, 0.6))
    found = one.compare(other).differences["sensitivity/screening"]
    assert found.first == other["sensitivity/screening"].value
    assert found.second == one["sensitivity/screening"].value
    assert found.first != found.second


def _at_threshold(cases: Cases, threshold: float) -> Evaluation:
    point = OperatingPoint(name="screening", positive="malignant", threshold=threshold)
    measures = all_measures(cases, MeasureOptions(rules=Rules(operating_points=(point,))))
    estimates = estimate(cases, measures, draws=0)
    facts = {"model": "made", "dataset": "made", "about": {}, "training_overlap": "none", "draws": 0}
    return Evaluation(**facts, cases=cases, measures=measures, estimates=estimates)  # type: ignore[arg-type]
