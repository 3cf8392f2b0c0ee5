"""Threads of streams: of one stream each, or kept for those that follow."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import warnings

import numpy as np
from drawn import draw_scan

from bcdseg import Model, Prediction
from bcdseg.runtimes.cpu_threads import reuse_threads


def _threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith("bcdseg")}


def test_reused_threads_run_stream_after_stream_and_end_with_the_context(small_model: Model) -> None:
    scan = draw_scan(1)
    (alone,) = small_model.predict([scan])
    with reuse_threads():
        first = list(small_model.predict([scan]))
        used = _threads()
        again = list(small_model.predict([scan]))
        assert _threads() == used != set()
    assert not _threads()
    for one in (*first, *again):
        np.testing.assert_array_equal(one.mask_probability, alone.mask_probability)


def test_a_stream_that_is_closed_early_leaves_reused_threads_idle(small_model: Model) -> None:
    with reuse_threads():
        stream = small_model.predict(draw_scan(0, (32, 32)) for _ in itertools.count())
        next(stream)
        stream.close()
        (after,) = small_model.predict([draw_scan(2)])
    assert isinstance(after, Prediction)
    assert not _threads()


def test_each_thread_reuses_its_own(small_model: Model) -> None:
    with reuse_threads():
        list(small_model.predict([draw_scan(1)]))
        kept = _threads()
        other = threading.Thread(target=lambda: list(small_model.predict([draw_scan(1)])))
        other.start()
        other.join()
        assert _threads() == kept


def _label(model: Model) -> str | None:
    (only,) = model.predict([draw_scan(1)])
    return only.label


def test_a_forked_child_has_threads_of_its_own(small_model: Model) -> None:
    with reuse_threads(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*use of fork\(\) may lead to deadlocks", DeprecationWarning)
        expected = _label(small_model)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(_label, [small_model]).get(timeout=100) == expected
