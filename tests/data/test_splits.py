from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import busi, save, scan

from bcdseg.data.dataset import Dataset
from bcdseg.data.grouping import check_disjoint
from bcdseg.data.opening import combine, open_dataset
from bcdseg.data.splits import Split, folds, load_split, split
from bcdseg.data_audit.audit import audit
from bcdseg.errors import BcdsegError, DatasetError, LeakError, LeakWarning, OptionError, OutputExistsError
from bcdseg.types import Sample

FRACTIONS = (0.7, 0.1, 0.2)
quick = settings(max_examples=60, deadline=None, derandomize=True)


def made(labels: list[str | None], groups: list[str | None] | None = None, masked: list[bool] | None = None) -> Dataset:
    """Return a data set of samples whose files are not read."""
    groups = groups or [None] * len(labels)
    masked = masked or [True] * len(labels)
    rows = zip(labels, groups, masked, strict=True)
    return Dataset(
        tuple(
            Sample(id=f"{at:04}", image=Path(f"{at}.png"), masks=(Path("m.png"),) * mask, label=label, group=group)
            for at, (label, group, mask) in enumerate(rows)
        ),
        "made",
    )


def counts(part: Dataset) -> Counter[str | None]:
    return Counter(sample.label for sample in part)


def ids(parts: Split) -> list[tuple[str, ...]]:
    return [part.ids for part in parts]


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Dataset, list[list[str]]]:
    """Return data sets of patients of one class each or of several, with duplicates across them."""
    size = draw(st.integers(12, 80))
    patients = draw(st.lists(st.one_of(st.none(), st.integers(0, 25)), min_size=size, max_size=size))
    labels = draw(st.lists(st.sampled_from(["benign", "malignant", None]), min_size=size, max_size=size))
    data = made(
        labels,
        [None if one is None else f"p{one}" for one in patients],
        draw(st.lists(st.booleans(), min_size=size, max_size=size)),
    )
    pairs = draw(st.lists(st.lists(st.sampled_from(data.ids), min_size=2, max_size=4), max_size=8))
    return data, pairs


def assert_nothing_crosses(parts: list[Dataset], data: Dataset, duplicates: list[list[str]]) -> None:
    where = {id: at for at, part in enumerate(parts) for id in part.ids}
    for group in duplicates:
        assert len({where[id] for id in group}) == 1
    for patient in {sample.group for sample in data} - {None}:
        assert len({where[sample.id] for sample in data if sample.group == patient}) == 1
    assert sorted(where) == sorted(data.ids)
    assert sum(map(len, parts)) == len(data)


@quick
@given(grouped(), st.integers(0, 5))
def test_no_group_is_ever_in_two_parts(made_data: tuple[Dataset, list[list[str]]], seed: int) -> None:
    data, duplicates = made_data
    try:
        parts = split(data, FRACTIONS, seed=seed, duplicates=duplicates)
    except OptionError:
        return  # a class of too few groups, which has its own test
    assert_nothing_crosses(list(parts), data, duplicates)
    for part in parts:
        assert set(part.classes) == set(data.classes)


@quick
@given(grouped(), st.integers(0, 5))
def test_no_group_is_ever_in_train_and_test_of_a_fold(made_data: tuple[Dataset, list[list[str]]], seed: int) -> None:
    data, duplicates = made_data
    try:
        pairs = folds(data, 3, seed=seed, duplicates=duplicates)
    except OptionError:
        return
    for train, test in pairs:
        assert_nothing_crosses([train, test], data, duplicates)
    assert sorted(id for _, test in pairs for id in test.ids) == sorted(data.ids)


@quick
@given(
    st.lists(st.integers(4, 60), min_size=1, max_size=4),
    st.sampled_from([(0.7, 0.1, 0.2), (0.6, 0.2, 0.2), (0.8, 0.0, 0.2), (0.34, 0.33, 0.33), (0.5, 0.05, 0.45)]),
    st.integers(0, 9),
)
def test_each_class_is_within_one_scan_of_its_share(sizes: list[int], fractions: tuple[float, float, float], seed: int) -> None:
    data = made([f"class {at}" for at, size in enumerate(sizes) for _ in range(size)])
    for part, share in zip(split(data, fractions, seed=seed, duplicates=()), fractions, strict=True):
        for at, size in enumerate(sizes):
            assert abs(counts(part)[f"class {at}"] - share * size) <= 1 + 1e-9


@quick
@given(st.lists(st.lists(st.integers(1, 8), min_size=5, max_size=30), min_size=1, max_size=3), st.integers(0, 9))
def test_with_groups_each_class_is_within_its_largest_group_of_its_share(sizes: list[list[int]], seed: int) -> None:
    rows = [
        (f"class {at}", f"{at} {number}") for at, groups in enumerate(sizes) for number, n in enumerate(groups) for _ in range(n)
    ]
    data = made([label for label, _ in rows], [group for _, group in rows])
    for part, share in zip(split(data, FRACTIONS, seed=seed, duplicates=()), FRACTIONS, strict=True):
        for at, groups in enumerate(sizes):
            assert abs(counts(part)[f"class {at}"] - share * sum(groups)) <= max(groups)


def test_scans_with_and_without_masks_are_shared_out_alike() -> None:
    data = made(["benign"] * 100, masked=[True] * 40 + [False] * 60)
    with_masks = [sum(bool(sample.masks) for sample in part) for part in split(data, FRACTIONS, duplicates=())]
    assert with_masks == [28, 4, 8]
    for _, test in folds(data, 5, duplicates=()):
        assert sum(bool(sample.masks) for sample in test) == 8


def test_large_groups_are_shared_out_too_and_not_all_put_into_train() -> None:
    data = made(["benign"] * 140, [f"p{at // 2}" if at < 80 else None for at in range(140)])
    for part, share in zip(split(data, FRACTIONS, duplicates=()), FRACTIONS, strict=True):
        assert sum(sample.group is not None for sample in part) == share * 80
        assert len(part) == round(share * 140)


def test_folds_have_the_classes_of_the_whole() -> None:
    data = made(["benign"] * 50 + ["malignant"] * 25)
    for train, test in folds(data, 5, repeats=2, duplicates=()):
        assert counts(test) == {"benign": 10, "malignant": 5}
        assert counts(train) == {"benign": 40, "malignant": 20}


def test_repeats_are_different_draws() -> None:
    tests = [test.ids for _, test in folds(made(["benign"] * 30), 3, repeats=2, duplicates=())]
    assert len(set(tests)) == 6


def test_a_seed_gives_the_same_split_and_another_seed_another() -> None:
    data = made(["benign"] * 30 + ["malignant"] * 20)
    assert ids(split(data, seed=1, duplicates=())) == ids(split(data, seed=1, duplicates=()))
    assert ids(split(data, seed=1, duplicates=())) != ids(split(data, seed=2, duplicates=()))


def test_a_split_unpacks_and_describes_itself() -> None:
    parts = split(made(["benign"] * 10), duplicates=())
    train, val, test = parts
    assert (len(train), len(val), len(test)) == (7, 1, 2)
    assert repr(parts).count("10") == 0
    assert [line.split()[0] for line in repr(parts).splitlines()] == ["train", "val", "test"]


def test_a_share_of_zero_leaves_a_part_empty() -> None:
    train, val, test = split(made(["benign"] * 10), (0.8, 0, 0.2), duplicates=())
    assert (len(train), len(val), len(test)) == (8, 0, 2)


def test_parts_carry_the_groups_they_were_kept_together_by() -> None:
    data = made(["benign"] * 10, ["p1", "p1", *[None] * 8])
    groups = {sample.id: sample.group for part in split(data, duplicates=[("0001", "0002")]) for sample in part}
    assert [groups[f"000{at}"] for at in range(4)] == ["p1", "p1", "p1", None]


def test_splitting_groups_must_be_requested_and_warns() -> None:
    data = made(["benign"] * 40, ["p"] * 20 + ["q"] * 20)
    with pytest.warns(LeakWarning, match="too good"):
        parts = split(data, group=None)
    assert [len(part) for part in parts] == [28, 4, 8]
    with pytest.warns(LeakWarning):
        folds(data, group=None)
    with pytest.raises(OptionError, match="'auto'"):
        split(data, group="patient")


def test_copies_of_another_data_set_are_refused() -> None:
    with pytest.raises(OptionError, match="another data set"):
        split(made(["benign"] * 10), duplicates=[("x", "y")])


def test_a_class_of_too_few_groups_is_an_error_with_a_solution() -> None:
    data = made(["benign"] * 20 + ["malignant"] * 9, [None] * 20 + ["p1"] * 4 + ["p2"] * 5)
    with pytest.raises(OptionError, match=r"'malignant' has 2.*fewer parts"):
        split(data, duplicates=())
    train, _, test = split(data, (0.5, 0, 0.5), duplicates=())
    assert {"benign", "malignant"} == set(train.classes) == set(test.classes)
    with pytest.raises(OptionError, match=r"5 folds need 5 groups.*'malignant' has 2"):
        folds(data, 5, duplicates=())


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0.5, 0.5, 0.0, 0.0), 0.8, "abc", None])
def test_fractions_that_make_no_sense_are_refused(fractions: Any) -> None:
    with pytest.raises(OptionError, match="together 1"):
        split(made(["benign"] * 10), fractions, duplicates=())


def test_folds_need_two_and_a_repeat() -> None:
    for wrong in (1, 2.5, "3", True):
        with pytest.raises(OptionError, match=r"k=.*whole number of 2 or more"):
            folds(made(["benign"] * 10), wrong, duplicates=())  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="repeats=0: give a whole number of 1 or more"):
        folds(made(["benign"] * 10), repeats=0, duplicates=())


@pytest.mark.parametrize("seed", [-1, 0.5, "a", None])
def test_a_seed_is_a_whole_number_of_0_or_more(seed: Any) -> None:
    for divide in (split, folds):
        with pytest.raises(OptionError, match=r"seed=.*whole number of 0 or more"):
            divide(made(["benign"] * 10), seed=seed, duplicates=())


def test_an_unlabelled_data_set_is_split_too() -> None:
    assert [len(part) for part in split(made([None] * 20), duplicates=())] == [14, 2, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(test) for _, test in folds(made([None] * 20), 4, duplicates=())] == [5] * 4


def test_a_split_after_an_audit_reads_no_scan_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))
    folder = busi(tmp_path / "scans", (0, 6, 6), second_mask=False)
    shutil.copy(folder / "benign" / "benign (1).png", folder / "malignant" / "malignant (7).png")  # a conflict, which is dropped
    shutil.copy(folder / "benign" / "benign (2).png", folder / "benign" / "benign (7).png")
    data = open_dataset(folder, on_problem="skip")
    clean = data.apply_audit(audit(data))
    assert len(clean) == 12
    searched = [split(Dataset(clean.samples[::step], "searched again"), (0.5, 0, 0.5)) for step in (1, 2)]
    shutil.rmtree(folder)
    parts = split(clean, (0.5, 0, 0.5))
    assert ids(parts) == ids(searched[0])
    assert ids(split(clean.select(clean.ids[::2]), (0.5, 0, 0.5))) == ids(searched[1])
    assert len({at for at, part in enumerate(parts) for id in part.ids if id.endswith(("benign (2).png", "benign (7).png"))}) == 1
    without_copies = [id for id in clean.ids if not id.endswith(("benign (2).png", "benign (7).png"))]
    assert [len(part) for part in split(clean.select(without_copies), (0.5, 0, 0.5))] == [5, 0, 5]
    with pytest.raises(BcdsegError):
        split(combine(clean, clean), (0.5, 0, 0.5))  # no audit has searched both


def test_a_saved_split_comes_back(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path / "scans", (4, 4, 4)))
    parts = split(data, (0.5, 0.25, 0.25), seed=3, duplicates=[("benign/benign (1).png", "benign/benign (2).png")])
    parts.save(tmp_path / "split.json")
    back = load_split(tmp_path / "split.json", data)
    assert back == parts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "split.json"]


def test_a_split_is_the_same_where_the_data_lies_elsewhere_in_another_format(tmp_path: Path) -> None:
    parts = split(open_dataset(busi(tmp_path / "here", (4, 4, 4))), duplicates=())
    parts.save(tmp_path / "split.json")
    elsewhere = busi(tmp_path / "there", (4, 4, 4))
    pixels = scan(1, "benign")[0]
    save(elsewhere / "benign/benign (1).png", np.dstack([pixels] * 3), compress_level=0)
    assert ids(load_split(tmp_path / "split.json", open_dataset(elsewhere))) == ids(parts)


def test_changed_data_is_an_error_that_names_what_changed(tmp_path: Path) -> None:
    folder = busi(tmp_path / "scans", (4, 20, 4), second_mask=False)
    split(open_dataset(folder), duplicates=()).save(tmp_path / "split.json")
    save(folder / "normal/normal (1).png", scan(99)[0])
    save(folder / "normal/new.png", scan(98)[0])
    for number in range(1, 13):
        (folder / f"benign/benign ({number}).png").unlink()
        (folder / f"benign/benign ({number})_mask.png").unlink()
    with pytest.raises(DatasetError) as caught:
        load_split(tmp_path / "split.json", open_dataset(folder))
    message = str(caught.value)
    assert "1 added (normal/new.png)" in message
    assert "1 changed (normal/normal (1).png)" in message
    assert "12 removed (" in message
    assert "and 2 more)" in message


def test_a_split_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    parts = split(open_dataset(busi(tmp_path / "scans", (4, 4, 4))), duplicates=())
    parts.save(tmp_path / "split.json")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        parts.save(tmp_path / "split.json")
    parts.save(tmp_path / "split.json", overwrite=True)


def test_a_split_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    folder = busi(tmp_path / "scans", (4, 4, 4))
    parts = split(open_dataset(folder), duplicates=())
    (folder / "benign/benign (1).png").unlink()
    with pytest.raises(FileNotFoundError):
        parts.save(tmp_path / "split.json")
    assert not (tmp_path / "split.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "is not a split file"),
        ("[]", "is not a split file"),
        ('{"format": "bcdseg split", "version": 99}', "version 99"),
        ('{"format": "bcdseg split", "version": 1, "samples": [{"id": 3}]}', "damaged"),
    ],
)
def test_a_file_that_is_not_a_split_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_split(tmp_path / "split.json", made(["benign"]))
    with pytest.raises(DatasetError, match="no such split file"):
        load_split(tmp_path / "gone.json", made(["benign"]))


def test_other_spellings_of_parts_are_read_and_unknown_parts_and_repeated_ids_refused(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path / "scans", (4, 4, 4)))
    path = tmp_path / "split.json"
    split(data, duplicates=()).save(path)
    parts = load_split(path, data)
    text = path.read_text()
    path.write_text(text.replace('"part": "train"', '"part": "Train"').replace('"part": "val"', '"part": "validation"'))
    assert ids(load_split(path, data)) == ids(parts)
    path.write_text(text.replace('"part": "train"', '"part": "holdout"', 1))
    with pytest.raises(DatasetError, match=r"\.png is in the part 'holdout'. Parts are train, val, test"):
        load_split(path, data)
    content = json.loads(text)
    content["samples"].append({**content["samples"][0], "part": "test"})
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"1 ids are in it more than once \(.*\.png\)"):
        load_split(path, data)


def test_a_notebook_shows_a_split_as_a_table(tmp_path: Path) -> None:
    shown = split(open_dataset(busi(tmp_path, (4, 4, 4))), duplicates=())._repr_html_()
    assert all(word in shown for word in ("train", "val", "test", "benign", "with masks"))


def test_a_split_file_states_its_format(tmp_path: Path) -> None:
    split(open_dataset(busi(tmp_path / "scans", (4, 4, 4))), seed=5, duplicates=()).save(tmp_path / "split.json")
    content = json.loads((tmp_path / "split.json").read_text())
    assert {key: content[key] for key in ("format", "version", "dataset", "seed", "fractions")} == {
        "format": "bcdseg split",
        "version": 1,
        "dataset": "scans",
        "seed": 5,
        "fractions": [0.7, 0.1, 0.2],
    }


def test_parts_that_share_a_picture_under_another_name_are_refused(tmp_path: Path) -> None:
    one = open_dataset(busi(tmp_path / "one", (2, 2, 0)))
    save(tmp_path / "two/benign/x.bmp", scan(2, "benign")[0])
    save(tmp_path / "two/malignant/y.png", scan(7, "malignant")[0])
    two = open_dataset(tmp_path / "two")
    with pytest.raises(LeakError, match=r"benign/benign \(2\)\.png \(train\) and benign/x\.bmp \(test\): the same picture"):
        check_disjoint(train=one, test=two)
    check_disjoint(train=one, test=two.select(["malignant/y.png"]))


def test_parts_that_share_a_patient_are_refused(tmp_path: Path) -> None:
    image = {seed: save(tmp_path / f"{seed}.png", scan(seed)[0]) for seed in range(3)}
    one, two, three = (
        Dataset((Sample(id=f"{at}", image=image[at], group=group),), "made") for at, group in enumerate(["p", "p", None])
    )
    with pytest.raises(LeakError, match=r"0 \(train\) and 1 \(val\): the group 'p'"):
        check_disjoint(train=one, val=two, test=three)
    check_disjoint(train=one, test=three)
    with pytest.raises(OptionError, match="train: give two or more data sets"):
        check_disjoint(train=one)


def test_the_parts_of_a_split_are_disjoint(tmp_path: Path) -> None:
    train, val, test = split(open_dataset(busi(tmp_path, (4, 4, 4))), duplicates=())
    check_disjoint(train=train, val=val, test=test)


def test_tables_of_the_parts_have_the_new_split(tmp_path: Path) -> None:
    data = made(["benign", "malignant"] * 10)
    prescribed = replace(data, samples=tuple(replace(sample, part="test") for sample in data))
    parts = split(prescribed, (0.5, 0.2, 0.3), duplicates=())
    assert [{sample.part for sample in part} for part in parts] == [{"train"}, {"val"}, {"test"}]
    train, test = folds(prescribed, k=2, duplicates=())[0]
    assert ({one.part for one in train}, {one.part for one in test}) == ({"train"}, {"test"})
    scans = open_dataset(busi(tmp_path / "made", (4, 4, 4)))
    new = split(replace(scans, samples=tuple(replace(one, part="train") for one in scans)), (0.5, 0.25, 0.25), duplicates=())
    new.save(tmp_path / "split.json")
    assert load_split(tmp_path / "split.json", scans) == new
    replace(scans, samples=(*new.train, *new.val, *new.test)).to_csv(tmp_path / "scans.csv")
    table = open_dataset(tmp_path / "scans.csv")
    assert [[one.image for one in table.part(name)] for name in ("train", "val", "test")] == [
        [one.image for one in part] for part in new
    ]
