"""Test-time augmentation and uncertainty: exact inverses, means, and spreads, for every runtime."""

from __future__ import annotations

import csv
import io
import multiprocessing

import numpy as np
import pytest
import torch
from bright import bright_model
from drawn import draw_ellipse, draw_scan
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import bcdseg
from bcdseg import Model, errors
from bcdseg.inference.writers import csv_bytes, table_rows
from bcdseg.runtimes.tta import VIEWS, View

EACH = [draw_scan(seed, size) for seed, size in enumerate([(40, 60), (33, 50)])]


def _small(seed: int = 0, **options: object) -> Model:
    torch.manual_seed(seed)
    made = bcdseg.create("plain_cnn", **{"classes": ["a", "b", "c"], "size": 32, "decoder_channels": (16, 8, 8, 4, 4), **options})  # type: ignore[arg-type]
    with torch.no_grad():  # outputs that differ between scans and between members
        for name, weights in made.network.named_parameters():
            if name.endswith("weight") and "head" in name:
                weights *= 8
    return made


@given(st.booleans(), st.floats(0.5, 1), st.integers(20, 90), st.integers(20, 90))
def test_a_view_is_undone_exactly(mirrored: bool, scale: float, height: int, width: int) -> None:
    view, slope = View(mirrored, scale), np.add.outer(np.arange(height), 2 * np.arange(width)).astype(np.float32)
    transformed = view.apply(slope[None], np.zeros(1, np.float32))
    assert transformed.shape == (1, height, width)
    inside = (slice(4, -4), slice(4, -4))  # a slope stays one wherever it isn't cut off
    apart = view.invert(transformed[0])[inside] - slope[inside]
    assert np.abs(apart).max() <= (0.4 if scale < 1 else 0)  # of pixels in between
    assert abs(apart.mean()) < 0.02  # nothing has moved


@pytest.mark.parametrize("tta", ["flip", "full"])
@pytest.mark.parametrize("mode", ["whole", "tiles"])
def test_a_shape_is_outlined_where_it_is(tta: str, mode: str) -> None:
    truth = draw_ellipse((200, 270), (70, 190), (40, 60), 20)
    scan = bright_model("stretch").predict(truth.astype(np.uint8) * 220 + 10, tta=tta, mode=mode)
    assert scan.mask is not None
    assert 2 * (scan.mask & truth).sum() / (scan.mask.sum() + truth.sum()) > 0.96
    assert scan.lesions[0].centroid == pytest.approx((70, 190), abs=0.8)


def test_around_a_smaller_scan_it_is_black() -> None:
    transformed = View(scale=0.5).apply(np.ones((3, 8, 8), np.float32), np.array([-1, -2, -3], np.float32))
    np.testing.assert_array_equal(transformed[:, 0, 0], [-1, -2, -3])
    np.testing.assert_array_equal(transformed[:, 2:6, 2:6], 1)


def test_outputs_are_the_means_of_the_views() -> None:
    model, scan = _small(), EACH[0]
    averaged = model.predict(scan, tta="flip")
    one, other = model.predict(scan), model.predict(np.ascontiguousarray(scan[:, ::-1]))
    assert one.mask_probability is not None
    assert other.mask_probability is not None
    mean = (one.mask_probability + other.mask_probability[:, ::-1]) / 2
    np.testing.assert_allclose(averaged.mask_probability, mean, atol=1e-5)
    for name in model.classes:
        pair = one.probabilities[name], other.probabilities[name]
        assert averaged.probabilities[name] == pytest.approx(np.mean(pair), abs=1e-5)
        assert averaged.spread is not None
        assert averaged.spread[name] == pytest.approx(np.std(pair), abs=1e-5)
    assert (averaged.uncertainty_from, one.uncertainty_from) == ("2 views", None)
    inside = np.clip(mean, 1e-6, 1 - 1e-6)
    np.testing.assert_allclose(averaged.entropy, -inside * np.log2(inside) - (1 - inside) * np.log2(1 - inside), atol=1e-4)
    assert (one.entropy, one.spread) == (None, None)
    assert len(VIEWS["full"]) == 6


def test_temperature_and_class_offsets_are_applied_to_each_view() -> None:
    model = _small()
    warm = Model(
        model.network, model.preprocessing, bcdseg.Rules(temperature=3.0, class_offsets=(0.7,) + (0.0,) * (len(model.classes) - 1))
    )
    averaged = warm.predict(EACH[0], tta="flip")
    pair = [warm.predict(pixels).probabilities["a"] for pixels in (EACH[0], np.ascontiguousarray(EACH[0][:, ::-1]))]
    assert averaged.probabilities["a"] == pytest.approx(np.mean(pair), abs=1e-5)


@pytest.fixture(scope="module")
def both() -> Model:
    return bcdseg.ensemble([_small(0), _small(1)])


def test_an_ensemble_reports_the_spread_of_its_members(both: Model) -> None:
    found = both.predict(EACH[0])
    members = [_small(seed).predict(EACH[0]) for seed in (0, 1)]
    assert found.uncertainty_from == "2 members"
    assert found.spread is not None
    for name, spread in found.spread.items():
        assert spread == pytest.approx(np.std([member.probabilities[name] for member in members]), abs=1e-5)
    assert found.entropy is not None
    assert 0 <= found.entropy.min() <= found.entropy.max() <= 1
    assert both.predict(EACH[0], tta="flip").uncertainty_from == "2 members x 2 views"


def test_the_table_has_the_spread_of_the_predicted_class(both: Model) -> None:
    results = [both.predict(EACH[0]), _small().predict(EACH[0])]
    with_spread, without = csv.DictReader(io.StringIO(csv_bytes(table_rows(results, both.classes), both.classes).decode()))
    assert float(with_spread["spread"]) == pytest.approx(results[0].spread[results[0].label], abs=1e-4)
    assert without["spread"] == ""


def test_models_with_one_head() -> None:
    outlined = _small(classes=[], head=None).predict(EACH[0], tta="flip")
    assert (outlined.spread, outlined.uncertainty_from, outlined.entropy is None) == (None, "2 views", False)
    classified = _small(decoder=None, decoder_channels=None).predict(EACH[0], tta="full")
    assert classified.entropy is None
    assert set(classified.spread or ()) == {"a", "b", "c"}


def test_an_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(errors.OptionError, match="'none', 'flip', 'full'"):
        _small().predict(EACH[0], tta="rotate")


def _probabilities(model: Model, scan: NDArray[np.uint8]) -> dict[str, float]:
    return dict(model.predict(scan).probabilities)


@pytest.mark.parametrize(("method", "processes"), [("fork", 2), ("spawn", 1)])
def test_processes_share_a_model(method: str, processes: int) -> None:
    model, threads = _small(size=64), torch.get_num_threads()
    torch.set_num_threads(2)  # which a fork leaves behind
    try:
        expected = [_probabilities(model, scan) for scan in EACH]
        with multiprocessing.get_context(method).Pool(processes) as pool:
            results = pool.starmap_async(_probabilities, [(model, scan) for scan in EACH]).get(timeout=100)
    finally:
        torch.set_num_threads(threads)
    for found, right in zip(results, expected, strict=True):
        assert found == pytest.approx(right, abs=1e-5)


def _load_and_predict(scan: NDArray[np.uint8]) -> dict[str, float]:
    return dict(bcdseg.load(runtime="torch").predict(scan).probabilities)


def test_a_forked_process_loads_a_model_of_its_own() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = _load_and_predict(EACH[0])  # with threads, which a fork leaves behind
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.map_async(_load_and_predict, [EACH[0]]).get(timeout=100)[0]
    finally:
        torch.set_num_threads(threads)
    assert found == pytest.approx(expected, abs=1e-5)
