"""Loading of scans for training: preparation, order, processes and caches."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bcdseg
from bcdseg import Dataset, Preprocessing, Sample, errors
from bcdseg.data.images import read_image
from bcdseg.training.losses import NO_LABEL

pytest.importorskip("albumentations", reason="extra train is not installed")

from bcdseg.training.config import FitConfig
from bcdseg.training.data import sampling
from bcdseg.training.data.loaders import Batch, free_cache_space, set_epoch, training_loader, validation_loader, workers

CLASSES = ("normal", "benign", "malignant")
SQUARE = Preprocessing(size=(32, 32))
QUICK = FitConfig(batch_size=4, workers=0, seed=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return bcdseg.open_dataset(made.busi(tmp_path_factory.mktemp("busi"), (3, 5, 5)))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "cache"))


def _training(data: Dataset, config: FitConfig = QUICK, **options: Any) -> Any:
    options = {"preprocessing": SQUARE, "classes": CLASSES, "no_lesion": "normal", **options}
    return training_loader(data, config=config, **options)


def _validation(data: Dataset, config: FitConfig = QUICK, **options: Any) -> Any:
    options = {"preprocessing": SQUARE, "classes": CLASSES, "no_lesion": "normal", **options}
    return validation_loader(data, config=config, **options)


def _epochs(loader: Any, epochs: Iterable[int] = range(2)) -> list[Batch]:
    batches: list[Batch] = []
    for epoch in epochs:
        set_epoch(loader, epoch)
        batches += loader
    return batches


def _equal(ones: list[Batch], others: list[Batch]) -> bool:
    """Return whether two lists of batches have the same scans in the same order, with equal tensors."""
    if [one.ids for one in ones] != [other.ids for other in others]:
        return False
    truths = ("mask", "has_mask", "label")
    return all(
        torch.equal(one.image, other.image)
        and all(torch.equal(getattr(one.truth, name), getattr(other.truth, name)) for name in truths)
        for one, other in zip(ones, others, strict=True)
    )


def _joined(parts: list[Batch]) -> dict[str, torch.Tensor]:
    rows = [(i, batch.image[at], batch.truth.mask[at], batch.truth.label[at]) for batch in parts for at, i in enumerate(batch.ids)]
    return {name: torch.cat([image.flatten(), mask.flatten(), label.flatten()]) for name, image, mask, label in rows}


# --- one preprocessing path ---


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize("resize", ["stretch", "fit", "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_validation_is_the_preprocessing_bit_for_bit(tmp_path: Path, cache: str, resize: str, channels: int) -> None:
    random = np.random.default_rng(0)
    deep = random.integers(0, 2**16, (40, 50), dtype=np.uint16)
    scans = {
        "gray.png": random.integers(0, 256, (48, 70), dtype=np.uint8),
        "colour.png": random.integers(0, 256, (60, 40, 3), dtype=np.uint8),
        "three-equal.png": np.repeat(random.integers(0, 256, (50, 50, 1), dtype=np.uint8), 3, axis=2),
    }
    for name, pixels in scans.items():
        made.save(tmp_path / name, pixels)
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    paths = [tmp_path / name for name in (*scans, "deep.tif")]
    data = Dataset(tuple(Sample(id=path.name, image=path) for path in paths), "four")
    preprocessing = Preprocessing(
        size=(36, 44), resize=resize, channels=channels, mean=(0.48, 0.4, 0.3)[:channels], std=(0.2, 0.3, 0.25)[:channels]
    )
    loader = _validation(data, replace(QUICK, cache=cache), preprocessing=preprocessing)
    for _ in range(2):  # the second time from the cache
        images = [image for batch in loader for image in batch.image]
        for path, image in zip(paths, images, strict=True):
            np.testing.assert_array_equal(image.numpy(), preprocessing(read_image(path)).array)


@pytest.mark.parametrize("resize", ["stretch", "fit"])
def test_a_mask_lies_where_its_scan_lies(tmp_path: Path, resize: str) -> None:
    mask = np.zeros((60, 90), bool)
    mask[12:40, 20:70] = True
    image, outline = made.save(tmp_path / "a.png", mask), made.save(tmp_path / "a_mask.png", mask)
    data = Dataset((Sample(id="a", image=image, masks=(outline,)),), "one")
    preprocessing = Preprocessing(size=(96, 80), resize=resize, mean=(0.0,), std=(1.0,))
    (batch,) = _validation(data, preprocessing=preprocessing)
    assert torch.equal(batch.truth.mask, (batch.image > 0.5).float())


# --- what is known ---


def test_what_is_known_of_each_scan(tmp_path: Path) -> None:
    made.busi(tmp_path, (1, 1, 2), second_mask=False)
    named = {sample.id.split("/")[-1][:-4]: sample for sample in bcdseg.open_dataset(tmp_path)}
    samples = (
        replace(named["normal (1)"], masks=()),
        replace(named["benign (1)"], masks=()),
        replace(named["malignant (1)"], label=None),
        named["malignant (2)"],
    )
    (batch,) = _validation(Dataset(samples, "mixed"))
    assert batch.truth.label.tolist() == [0, 1, NO_LABEL, 2]
    assert batch.truth.has_mask.tolist() == [True, False, True, True]
    assert not batch.truth.mask[0].any()
    assert batch.truth.mask[3].any()
    (segmenting,) = _validation(Dataset(samples, "mixed"), classes=(), no_lesion=None)
    assert segmenting.truth.label.tolist() == [NO_LABEL] * 4
    assert segmenting.truth.has_mask.tolist() == [False, False, True, True]


def test_bad_data_is_refused_before_training(data: Dataset) -> None:
    with pytest.raises(errors.DatasetError, match=r"malignant.*not one of the classes normal, benign"):
        _training(data, classes=("normal", "benign"))
    empty = Dataset((), "nothing")
    with pytest.raises(errors.DatasetError, match="no samples"):
        _training(empty)
    with pytest.raises(errors.DatasetError, match="no samples"):
        _validation(empty)
    with pytest.raises(errors.OptionError, match="batch_size=1"):
        _training(data, preprocessing=Preprocessing(resize="none"))
    with pytest.raises(errors.OptionError, match="fewer devices"):
        _training(data, replace(QUICK, batch_size=2), world=4)


def test_scans_at_their_own_size_come_one_by_one(data: Dataset) -> None:
    own = Preprocessing(resize="none")
    shapes = [batch.image.shape for batch in _training(data, replace(QUICK, batch_size=1), preprocessing=own)]
    assert shapes == [(1, 1, 64, 64)] * len(data)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_scan_raises_its_original_error(tmp_path: Path, workers: int) -> None:
    data = bcdseg.open_dataset(made.busi(tmp_path, (1, 2, 2)))
    (tmp_path / "malignant" / "malignant (2).png").write_bytes(b"no image")
    with pytest.raises(errors.ImageError, match=r"^\S.*malignant \(2\)\.png: is not an image"):
        list(_validation(data, replace(QUICK, workers=workers)))


# --- order and randomness ---


@pytest.mark.parametrize("mix", ["none", "mixup"])
def test_batches_depend_neither_on_workers_nor_on_the_cache(data: Dataset, mix: str) -> None:
    config = replace(QUICK, mix=mix, mix_share=0.7)
    alone = _epochs(_training(data, config))
    for changes in ({"workers": 1}, {"workers": 2, "cache": "none"}, {"cache": "disk"}):
        assert _equal(_epochs(_training(data, replace(config, **changes))), alone)


def test_batches_after_a_resume_are_those_of_an_uninterrupted_run(data: Dataset) -> None:
    for balance in ("none", "sample"):
        config = replace(QUICK, balance=balance, mix="cutmix")
        whole = _epochs(_training(data, config), range(4))
        assert _equal(_epochs(_training(data, config), (2, 3)), whole[len(whole) // 2 :])


def test_epochs_and_seeds_differ(data: Dataset) -> None:
    first, second = (batches[0] for batches in (_epochs(_training(data), (0,)), _epochs(_training(data), (1,))))
    other = _epochs(_training(data, replace(QUICK, seed=4)), (0,))[0]
    assert first.ids != second.ids
    assert first.ids != other.ids


@pytest.mark.parametrize("options", [{}, {"mix": "mixup", "mix_share": 1.0}, {"balance": "sample", "mix": "cutmix"}])
def test_processes_together_have_the_batches_of_one(data: Dataset, options: dict[str, Any]) -> None:
    config = replace(QUICK, **options)
    alone = _epochs(_training(data, config))
    ranks = [_epochs(_training(data, config, world=2, rank=rank)) for rank in range(2)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        expected, found = _joined([whole]), _joined(parts)
        assert sum(len(part) for part in parts) == len(whole)
        assert expected.keys() == found.keys()
        if "balance" not in options:  # else a scan may be in a batch twice
            assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_validation_has_every_scan_once_over_all_processes(data: Dataset) -> None:
    for world in (1, 2, 3):
        ids = [one for rank in range(world) for batch in _validation(data, world=world, rank=rank) for one in batch.ids]
        assert Counter(ids) == Counter(data.ids)


@given(count=st.integers(1, 60), batch_size=st.integers(1, 20), world=st.integers(1, 4))
def test_an_epoch_has_no_scan_twice_and_leaves_out_less_than_a_batch(count: int, batch_size: int, world: int) -> None:
    world = min(world, batch_size, count)
    drawn: list[int] = []
    for rank in range(world):
        order = sampling.shuffled(count, 0)
        steps = sampling.Batches(order, count, batch_size, world=world, rank=rank, pairing=None)
        found = list(steps)
        assert len(found) == len(steps)
        assert all(len(step.draws) >= 1 for step in found)
        drawn += [draw.sample for step in found for draw in step.draws]
    assert len(set(drawn)) == len(drawn)
    assert len(drawn) == max(count // batch_size, 1) * min(batch_size, count)


# --- rare classes ---


def test_balanced_draws_take_each_class_equally_often() -> None:
    labels = [0] * 3 + [1] * 20 + [2] * 10 + [NO_LABEL] * 7
    drawn = sampling.balanced(labels, seed=0)(5)
    counts = Counter(labels[int(index)] for index in drawn)
    assert counts == {0: 11, 1: 11, 2: 11, NO_LABEL: 7}
    assert max(Counter(int(i) for i in drawn if labels[int(i)] == 0).values()) == 4
    assert max(Counter(int(i) for i in drawn if labels[int(i)] == 1).values()) == 1


def test_class_weights_are_the_root_of_how_rare_a_class_is(data: Dataset) -> None:
    weights = sampling.class_weights(data, (*CLASSES, "other"))
    mean = 13 / 3
    torch.testing.assert_close(weights, torch.tensor([(mean / 3) ** 0.5, (mean / 5) ** 0.5, (mean / 5) ** 0.5, 1.0]))


# --- what is kept ---


def test_a_memory_cache_reads_files_once_and_stays_within_its_limit(tmp_path: Path) -> None:
    data = bcdseg.open_dataset(made.busi(tmp_path / "busi", (0, 3, 3)))
    loader = _validation(data, replace(QUICK, cache="memory", workers=1))
    first = list(loader)
    small = _validation(data, replace(QUICK, cache="memory", cache_gb=2 * 32 * 32 * 2 / 1e9 / 0.19))
    list(small)
    for sample in data:
        sample.image.unlink()
    assert _equal(list(loader), first)
    kept = small.dataset.prepared
    assert [kept[at]["image"].shape for at in range(2)] == [(32, 32)] * 2
    with pytest.raises(RuntimeError):
        kept[2]


def test_a_disk_cache_is_used_again_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bcdseg.open_dataset(made.busi(tmp_path / "busi", (0, 2, 2)))
    config = replace(QUICK, cache="disk")
    first = list(_validation(data, config))
    kept = sorted((tmp_path / "cache" / "scans").iterdir())
    assert len(kept) == len(data)
    read: list[str] = []
    original = Dataset.read

    def counted(self: Dataset, sample: Any) -> Any:
        read.append(sample.id)
        return original(self, sample)

    monkeypatch.setattr(Dataset, "read", counted)
    loader = _validation(data, config)
    read.clear()  # the first sample is read when a loader is made
    assert _equal(list(loader), first)
    assert read == []
    changed = data[2]
    made.save(changed.image, 255 - read_image(changed.image))
    kept[0].write_bytes(b"damaged")
    loader = _validation(data, config)
    read.clear()
    images = torch.cat([batch.image for batch in loader])
    assert changed.id in read
    assert 1 <= len(read) <= 2
    assert not torch.equal(images[2], torch.cat([batch.image for batch in first])[2])


def test_a_disk_cache_is_one_for_both_parts_and_removes_what_was_longest_not_used(tmp_path: Path) -> None:
    parts = [bcdseg.open_dataset(made.busi(tmp_path / name, (0, 4, 4))) for name in ("old", "train")]
    val = bcdseg.open_dataset(made.busi(tmp_path / "val", (0, 1, 1)))
    folder, item = tmp_path / "cache" / "scans", 32 * 32 * 2
    config = replace(QUICK, cache="disk", cache_gb=15 * item / 1e9)

    def keep(*loaders: Any) -> set[Path]:
        free_cache_space(loaders, config)
        for loader in loaders:
            list(loader)
        return set(folder.iterdir())

    old = keep(_training(parts[0], config))
    new = keep(_training(parts[1], config), _validation(val, config)) - old
    assert len(old) == 8
    assert len(new) == 10, "neither part has removed what the other one keeps"
    assert 2 <= len(set(folder.iterdir()) & old) <= 5
    assert keep(_training(parts[1], config), _validation(val, config)) >= new


def test_nothing_is_kept_where_nothing_can_be_written(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("BCDSEG_CACHE", str(tmp_path / "taken"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sum(len(batch) for batch in _validation(data, replace(QUICK, cache="disk"))) == len(data)


def test_processes_that_prepare_scans_start_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, on_cpu, on_gpu in ((1, 0, 0), (2, 0, 1), (16, 2, 8), (64, 8, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        for device, count in (("cpu", on_cpu), ("cuda", on_gpu)):
            monkeypatch.setattr("bcdseg.training.data.loaders.choose_device", lambda _, device=device: device)
            assert workers(FitConfig()) == count
            assert workers(FitConfig(workers=3)) == 3
