from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_twins import KINDS, scan, text_over, twin, write
from PIL import Image

from bcdseg.data.duplicates.groups import grouped
from bcdseg.data.duplicates.search import SAME, DuplicatePair, Duplicates, find_duplicates
from bcdseg.errors import ImageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BCDSEG_CACHE", str(folder))
    return folder


def ends(found: Duplicates) -> set[frozenset[str]]:
    return {frozenset((pair.one, pair.other)) for pair in found.pairs}


def test_finds_every_kind_of_twin_and_nothing_else(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    changes = [(kind,) for kind in KINDS] + list(itertools.combinations(KINDS, 2))
    pictures, planted = {}, set()
    for number, kinds in enumerate(changes):
        pictures[f"{number}.png"] = scan(number)
        pictures[f"{number}-twin.png"] = twin(scan(number), kinds, random)
        planted.add(frozenset((f"{number}.png", f"{number}-twin.png")))
    found = ends(find_duplicates(write(tmp_path, pictures), cache=False))
    assert found <= planted
    assert len(found) >= 0.97 * len(planted)


def test_the_evidence_describes_the_change_of_the_twin(tmp_path: Path) -> None:
    original = scan(7, 300, 400)
    half = np.array(Image.fromarray(original).resize((200, 150)))
    pictures = {
        "a.png": original,
        "b-same.png": original,
        "c-mirrored.png": original[:, ::-1],
        "d-half.png": half,
        "e-cropped.png": original[:, 80:],
        "f-dark.png": (original * 0.6).astype(np.uint8),
    }
    found = find_duplicates(write(tmp_path, pictures), cache=False)
    assert found.groups == (tuple(sorted(pictures)),)
    evidence = {pair.other: " ".join(pair.evidence) for pair in found.pairs if pair.one == "a.png"}
    assert evidence["b-same.png"] == "same pixels"
    assert "mirrored" in evidence["c-mirrored.png"]
    assert "rescaled by 0.50" in evidence["d-half.png"]
    assert "80 % of the first and 100 % of the second" in evidence["e-cropped.png"]
    assert "other gain" in evidence["f-dark.png"]
    assert all(pair.score >= SAME for pair in found.pairs)


def test_placement_leads_from_the_first_scan_into_the_second(tmp_path: Path) -> None:
    original = scan(3)
    (pair,) = find_duplicates(write(tmp_path, {"a.png": original, "b.png": original[26:, 51:205]}), cache=False).pairs
    assert pair.placement == pytest.approx((256 / 230, 256 / 154, -26 / 230, -51 / 154), abs=0.01)


def test_a_scanners_text_makes_no_twins(tmp_path: Path) -> None:
    words = [
        "GENERAL HOSPITAL 2021-03-14",
        "L12-5  MI 1.2  TIS 0.4",
        "FR 24 Hz  GAIN 62 %",
        "DEPTH 4.0 cm",
        "MAP F  DR 65",
        "RT BREAST",
    ]
    pictures = {}
    for number in range(12):
        whole = np.zeros((300, 420), np.uint8)
        whole[22:278, 160:416] = scan(number)
        pictures[f"{number}.png"] = text_over(whole, *words, *words, *words)
    assert find_duplicates(write(tmp_path, pictures), cache=False).pairs == ()


def test_blank_and_tiny_scans_raise_no_error(tmp_path: Path) -> None:
    pictures = {
        "black.png": np.zeros((64, 64), np.uint8),
        "gray.png": np.full((64, 90), 90, np.uint8),
        "tiny.png": scan(0)[:16, :16],
    }
    assert find_duplicates(write(tmp_path, pictures), cache=False).pairs == ()
    assert find_duplicates([], cache=False).groups == ()


def test_many_copies_of_one_scan_are_one_group(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    copies = {f"{number}.png": twin(scan(5), ("other gain",), random) for number in range(50)}  # above BUCKET and PARTNERS
    assert len(find_duplicates(write(tmp_path, copies), cache=False).groups) == 1


def test_is_computed_once_for_the_same_content(tmp_path: Path, own_cache: Path) -> None:
    samples = write(tmp_path, {"a.png": scan(1), "b.png": scan(1)[:, ::-1], "c.png": scan(2)})
    calls: list[str] = []
    first = find_duplicates(samples, progress=lambda what, *_: calls.append(what))
    assert calls
    calls.clear()
    assert find_duplicates(list(reversed(samples)), progress=lambda what, *_: calls.append(what)) == first
    assert calls == []
    assert find_duplicates(samples).groups == (("a.png", "b.png"),)
    write(tmp_path, {"c.png": scan(1)})
    assert find_duplicates(samples).groups == (("a.png", "b.png", "c.png"),)
    kept = list((own_cache / "duplicates").iterdir())
    assert len(kept) == 2
    for file in kept:
        file.write_text("[{")
    assert find_duplicates(samples).groups == (("a.png", "b.png", "c.png"),)
    assert all(json.loads(file.read_text()) for file in kept if file.stat().st_size > 2)


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.setenv("BCDSEG_CACHE", str(file))
    assert find_duplicates(write(tmp_path, {"a.png": scan(1), "b.png": scan(1)})).groups == (("a.png", "b.png"),)


def test_names_a_scan_that_cannot_be_read(tmp_path: Path) -> None:
    samples = write(tmp_path, {"a.png": scan(1), "b.png": scan(2)})
    samples[1].image.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"b\.png"):
        find_duplicates(samples, cache=False)


def pair(one: str, other: str, score: float) -> DuplicatePair:
    return DuplicatePair(one, other, score, ())


def test_one_doubtful_pair_chains_no_two_groups() -> None:
    sure = [pair("a", "b", 0.95), pair("c", "d", 0.95)]
    assert grouped([*sure, pair("b", "c", 0.5)]) == (("a", "b"), ("c", "d"))
    assert grouped([*sure, pair("b", "c", 0.5), pair("a", "d", 0.5)]) == (("a", "b", "c", "d"),)
    assert grouped([*sure, pair("b", "e", 0.5)]) == (("a", "b", "e"), ("c", "d"))


names = st.sampled_from("abcdefgh")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, names, st.floats(0.45, 1)).filter(lambda one: one[0] < one[1]), max_size=20), st.randoms())
def test_groups_are_disjoint_with_all_sure_pairs_in_any_order(rows: list[tuple[str, str, float]], random: object) -> None:
    pairs = [pair(*row) for row in rows]
    groups = grouped(pairs)
    everyone = [name for group in groups for name in group]
    assert len(everyone) == len(set(everyone))
    assert all(len(group) > 1 for group in groups)
    for one in pairs:
        if one.score >= 0.7:
            assert any(one.one in group and one.other in group for group in groups)
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert grouped(pairs) == groups
