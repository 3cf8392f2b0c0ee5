"""Subgroups by facts, class and size: values, differences and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_cases import CLASSES, made_case

from bcdseg.errors import OptionError
from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import compare, estimate
from bcdseg.evaluation.measures.subgroups import analyse_subgroups, divide_by
from bcdseg.evaluation.results_table import Cases, table_of


def made(scans: int = 120, *, skills: tuple[float, float] = (2.0, 2.0)) -> Cases:
    """Return scans of two devices with a model of some skill on each, and with ages; the device of each tenth is unknown."""
    rows = []
    for at in range(scans):
        facts: dict[str, str | float] = {"age": float(30 + at % 40), "site": f"site {at % 3}"}
        if at % 10:
            facts["device"] = "AB"[at % 2]
        rows.append(replace(made_case(at, skill=skills[at % 2]), facts=facts))
    return table_of(rows, classes=CLASSES, no_lesion="normal")


def test_a_subgroup_has_the_values_of_its_scans() -> None:
    cases = made()
    measures = all_measures(cases)
    found = analyse_subgroups(cases, measures, ["device", "class", "size"], draws=20)
    assert found.facts == ("device", "class", "size")
    assert found.unknown["device"] == 12
    device = np.array([facts.get("device") for facts in cases.facts], dtype=object)
    for one in found.of("device"):
        alone = cases.select(device == one.name)
        expected = estimate(alone, found.measures, draws=0)
        assert one.n == len(alone)
        assert {name: each.value for name, each in one.estimates.items()} == {name: each.value for name, each in expected.items()}
    first, second = found.of("device")
    gap = first.estimates["accuracy"].value - second.estimates["accuracy"].value  # type: ignore[operator]
    assert first.differences["accuracy"].value == pytest.approx(gap)
    assert second.differences["accuracy"].value == pytest.approx(-gap)
    assert [one.name for one in found.of("class")] == list(CLASSES)


def test_a_true_difference_is_shown_and_the_worst_subgroup_named() -> None:
    cases = made(300, skills=(4.0, 0.0))
    found = analyse_subgroups(cases, all_measures(cases), ["device"], draws=200)
    worst = found.worst("device", "accuracy")
    assert worst is not None
    assert worst.name == "B"
    assert worst.differences["accuracy"].high is not None
    assert worst.differences["accuracy"].high < 0
    assert found.worst("device", "ece") is not None
    with pytest.raises(OptionError, match="not a measure of the subgroups"):
        found.worst("device", "speed")


def test_the_same_seed_gives_the_same_draws_as_a_comparison() -> None:
    cases = made()
    first, second = (analyse_subgroups(cases, all_measures(cases), ["site"], draws=30, seed=seed) for seed in (1, 1))
    assert first.subgroups == second.subgroups
    assert compare(cases, cases, list(first.measures), draws=30)["accuracy"].difference.value == 0


def test_numbers_are_divided_at_cut_points_or_terciles() -> None:
    cases = made()
    age = np.array([facts["age"] for facts in cases.facts])
    named = dict(divide_by(cases, "age", [40, 60]))
    assert list(named) == ["under 40", "40 to under 60", "60 or more"]
    assert named["under 40"].sum() == (age < 40).sum()
    sizes = [int(rows.sum()) for _, rows in divide_by(cases, "age")]
    assert len(sizes) == 3
    assert sum(sizes) == 120
    years = replace(cases, facts=tuple({"year": 2010.0 + at % 12} for at in range(120)))
    parts = dict(divide_by(years, "year", [2015]))
    assert {name: int(rows.sum()) for name, rows in parts.items()} == {"under 2015": 50, "2015 or more": 70}
    assert [int(rows.sum()) for _, rows in divide_by(years, "year")] == [40, 40, 40]
    many = replace(cases, facts=tuple({"probe": f"P{at % 30}"} for at in range(120)))
    parts = dict(divide_by(many, "probe"))
    assert len(parts) == 13
    assert parts["18 other values"].sum() == 72
    few = replace(cases, facts=tuple({"mhz": float(6 + 2 * (at % 4))} for at in range(120)))
    assert list(dict(divide_by(few, "mhz"))) == ["6", "8", "10", "12"]


def test_large_numbers_stay_apart() -> None:
    days = replace(made(), facts=tuple({"day": 20190101.0 + at % 2} for at in range(120)))
    assert list(dict(divide_by(days, "day"))) == ["20190101", "20190102"]


def test_a_small_subgroup_has_values_without_intervals() -> None:
    cases = made(40)
    rare = replace(cases, facts=tuple({"device": "rare" if at < 5 else "usual"} for at in range(40)))
    found = analyse_subgroups(rare, all_measures(rare), ["device"], draws=20)
    accuracy = found.of("device")[0].estimates["accuracy"]
    assert accuracy.value is not None
    assert (accuracy.low, "only 5 groups" in accuracy.note) == (None, True)
    assert "only 5 groups" in found.of("device")[1].differences["accuracy"].note
    assert found.worst("device", "accuracy") is None


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (["weight"], r"no scan has the fact 'weight'. Choose from class, size, age, device, site"),
        ({"device": [3]}, "'device' is not a number"),
        ({"class": [3]}, "'class' is not a number"),
        ({"age": []}, "are not cut points"),
    ],
)
def test_impossible_subgroups_are_refused(facts: object, message: str) -> None:
    cases = made(40)
    with pytest.raises(OptionError, match=message):
        analyse_subgroups(cases, all_measures(cases), facts, draws=0)  # type: ignore[arg-type]
