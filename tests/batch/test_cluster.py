"""Archives on a cluster of several nodes, all of them on this machine: nodes die, join and are slow during a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fragile
import numpy as np
import pytest
from drawn import draw_scan
from PIL import Image
from pyarrow import parquet

import bcdseg
from bcdseg.batch import archive, dispatch
from bcdseg.batch.archive import TABLE, Archive, Workers
from bcdseg.batch.run_manifest import Journal, Record
from bcdseg.batch.worker import Worker, WorkerOptions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves the processes of a killed node to the system
]
SCANS = 24
LOOPBACK = "127.0.0.1"
OBJECT_STORE = 80 * 2**20  # bytes; Ray allows no fewer than 75 MiB


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a cluster whose first node only coordinates."""
    for name, value in archive.LOOPBACK.items():
        os.environ.setdefault(name, value)  # before Ray is imported, as ``connected`` does it
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "120000")  # a busy machine starts a node slowly
    monkeypatch.setattr(archive, "TOGETHER", {"cpu": 1})
    monkeypatch.setattr(dispatch, "CHECK", 0.2)
    ray = archive.ray()
    ray.shutdown()
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "node_ip_address": LOOPBACK, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def scans(tmp_path: Path) -> list[str]:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(SCANS):
        Image.fromarray(draw_scan(number)).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(SCANS)]


def add(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK, object_store_memory=OBJECT_STORE)


def fill(
    cluster: Any, scans: list[str], out: Path, seen: Callable[[int], None], worker: Any = None, *, overlay: bool = False
) -> list[str]:
    """Predict the scans on the cluster, call ``seen`` after each, and return the files of the records in their order."""
    model = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32)
    found: list[str] = []

    def watch(records: Iterator[Record], total: int) -> Iterator[Record]:
        assert total == SCANS
        for record in records:
            found.append(record.file)
            assert record.whole, record.rows
            seen(len(found))
            yield record

    options = WorkerOptions(predict_options={}, frames=1, masks=True, overlay=overlay)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "Worker", worker or Worker)
        folder = Archive(out, scans, Journal(out, {}, resume=False, overwrite=False))
        folder.fill(model, options, Workers(address=cluster.address), watch)
    expected = [prediction.probabilities["benign"] for prediction in model.predict(scans)]
    rows = parquet.read_table(out / TABLE).to_pylist()
    assert [row["source"] for row in rows] == scans
    assert [row["probability_benign"] for row in rows] == pytest.approx(expected, abs=1e-4)
    assert len(list(out.glob("*_mask.png"))) == SCANS
    return found


def noted(folder: Path) -> type[Worker]:
    """Use a worker that writes its node into a folder."""
    archive.ray().cloudpickle.register_pickle_by_value(fragile)  # workers can't import the tests
    where = str(folder)

    class Here(fragile.Noted):
        def __init__(self, model: bcdseg.Model, options: WorkerOptions) -> None:
            super().__init__(model, options, where)

    return Here


def test_a_killed_node_loses_no_scan_and_predicts_none_twice(cluster: Any, scans: list[str], tmp_path: Path) -> None:
    _, other = add(cluster), add(cluster)

    def seen(count: int) -> None:
        if count == 3:
            cluster.remove_node(other, allow_graceful=False)

    assert sorted(fill(cluster, scans, tmp_path / "out", seen)) == sorted(scans)


def test_a_node_that_joins_during_a_run_predicts_too(cluster: Any, scans: list[str], tmp_path: Path) -> None:
    add(cluster)
    (tmp_path / "wait for another").touch()

    def seen(count: int) -> None:
        if count == 1:
            add(cluster)

    assert sorted(fill(cluster, scans, tmp_path / "out", seen, noted(tmp_path))) == sorted(scans)
    assert len(list(tmp_path.glob("node *"))) == 2


def test_a_slow_node_delays_only_the_scans_that_it_has(cluster: Any, scans: list[str], tmp_path: Path) -> None:
    add(cluster)
    slow = add(cluster)
    hold = tmp_path / f"hold {slow.node_id}"
    hold.touch()
    left = [SCANS]

    def seen(count: int) -> None:
        if count == SCANS - dispatch.AHEAD and hold.exists():
            left[0] = SCANS - count
            hold.unlink()

    assert sorted(fill(cluster, scans, tmp_path / "out", seen, noted(tmp_path))) == sorted(scans)
    assert left == [dispatch.AHEAD]


def test_a_cluster_without_a_free_core_is_an_error(
    cluster: Any, scans: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = add(cluster)

    def seen(count: int) -> None:
        if count == 1:
            monkeypatch.setattr(dispatch, "PATIENCE", 0.5)
            (tmp_path / f"hold {node.node_id}").touch()  # a worker may outlive its node by as long as the other scans take
            cluster.remove_node(node, allow_graceful=False)

    with pytest.raises(bcdseg.errors.ClusterError, match="--resume"):
        fill(cluster, scans, tmp_path / "out", seen, noted(tmp_path))
    rows = parquet.read_table(tmp_path / "out" / TABLE).to_pylist()
    assert rows
    assert all(row["error"] is None for row in rows)


def test_a_full_object_store_loses_no_scan(cluster: Any, scans: list[str], tmp_path: Path) -> None:
    add(cluster)
    ray = archive.ray()
    ray.init(address=cluster.address)

    def held() -> list[Any]:
        return [ray.put(np.random.default_rng(number).bytes(OBJECT_STORE // 2)) for number in range(2)]

    here, there = held(), ray.get(ray.remote(held).options(num_cpus=1).remote())
    for number, scan in enumerate(scans):  # overlays of noise are too large for messages, so results wait in the object store
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (400, 500), np.uint8)).save(scan)
    assert sorted(fill(cluster, scans, tmp_path / "out", lambda _: None, overlay=True)) == sorted(scans)
    assert len(list((tmp_path / "out").glob("*_overlay.png"))) == SCANS
    assert len(here) == len(there) == 2
