from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from made import busi, save, scan
from PIL import Image

from bcdseg import Model, audit, evaluate
from bcdseg.data.dataset import Dataset
from bcdseg.data.hashing import content_hash
from bcdseg.data.opening import combine, open_dataset
from bcdseg.errors import BcdsegError, DatasetError, ImageError, ImageNotFoundError, OptionError, OutputExistsError
from bcdseg.types import Sample


@dataclass(frozen=True)
class Found:
    duplicate_groups: tuple[tuple[str, ...], ...] = ()
    conflicts: tuple[tuple[str, ...], ...] = ()


def named(*rows: tuple[str, str | None, str | None]) -> Dataset:
    """Return a data set of samples (id, label, group) whose files are not read."""
    return Dataset(tuple(Sample(id=id, image=Path(id), label=label, group=group) for id, label, group in rows), "made")


def test_a_dataset_describes_itself(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path / "BUSI"))
    assert repr(data) == (
        "<Dataset BUSI (BUSI: masks next to their images): 8 samples; "
        "2 normal, 3 benign, 3 malignant; 8 with masks; no groups known>"
    )
    assert data.classes == ("normal", "benign", "malignant")


def test_samples_are_reached_by_number_and_id_and_by_iteration(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path))
    assert len(data) == 8
    assert data[0] is data["benign/benign (1).png"] is next(iter(data))
    assert "benign/benign (1).png" in data
    assert "benign/benign (9).png" not in data
    for wrong in ("benign/benign (9).png", Path("benign/benign (1).png"), None, ["benign/benign (1).png"]):
        with pytest.raises(OptionError, match=r"no sample of .*benign \(1\)\.png"):
            data[wrong]  # type: ignore[index]


def test_read_gives_the_pixels_and_the_merged_mask(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path))
    pixels, mask = data.read("benign/benign (1).png")
    expected, lesion = scan(1, "benign")
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(mask, lesion)


def test_an_unknown_mask_is_none_even_of_a_normal(tmp_path: Path) -> None:
    busi(tmp_path)
    (tmp_path / "normal/normal (1)_mask.png").unlink()
    data = open_dataset(tmp_path)
    assert data.read("normal/normal (1).png")[1] is None
    known = data.read("normal/normal (2).png")[1]
    assert known is not None
    assert not known.any()


def test_select_keeps_the_order_and_refuses_strangers(tmp_path: Path) -> None:
    data = open_dataset(busi(tmp_path))
    assert data.select(["normal/normal (1).png", "benign/benign (2).png"]).ids == ("benign/benign (2).png", "normal/normal (1).png")
    with pytest.raises(OptionError, match=r"^nobody\.png: .*no samples"):
        data.select(["nobody.png"])


def test_a_table_brings_back_what_was_written(tmp_path: Path) -> None:
    folder = busi(tmp_path / "scans")
    one = Sample(id="x", image=folder / "benign/benign (1).png", label="benign", group="patient 7", part="val", spacing=(0.1, 0.2))
    data = Dataset((one, *open_dataset(folder)), "made")
    (tmp_path / "tables").mkdir()
    data.to_csv(tmp_path / "tables/all.csv")
    with pytest.raises(OutputExistsError):
        data.to_csv(tmp_path / "tables/all.csv")
    data.to_csv(tmp_path / "tables/all.csv", overwrite=True)
    assert len(list((tmp_path / "tables").iterdir())) == 1
    back = open_dataset(tmp_path / "tables/all.csv")
    assert [(s.id, s.label, s.group, s.part, s.spacing) for s in back] == [
        (s.id, s.label, s.group, s.part, s.spacing) for s in data
    ]
    assert [[path.resolve() for path in (s.image, *s.masks)] for s in back] == [[s.image, *s.masks] for s in data]


def test_check_reads_all_and_lists_all_bad_files_in_one_error(tmp_path: Path) -> None:
    busi(tmp_path)
    (tmp_path / "benign/benign (2).png").write_bytes(b"no image at all")
    save(tmp_path / "malignant/malignant (1)_mask.png", scan(1, size=(20, 20))[1])
    data = open_dataset(tmp_path)
    with pytest.raises(DatasetError) as caught:
        data.check()
    assert len(caught.value.problems) == 2
    assert "benign (2).png" in str(caught.value)
    assert "20x20" in str(caught.value)
    good = data.check(on_problem="skip")
    assert len(good) == 6
    assert "2 problems skipped" in repr(good)
    assert len(open_dataset(tmp_path, resize_masks=True).check(on_problem="skip")) == 7


@pytest.mark.parametrize(
    "use", [lambda data, _: data.read(data[0]), lambda data, model: evaluate(model, data), lambda data, _: audit(data)]
)
def test_a_scan_of_several_pages_is_refused(tmp_path: Path, small_model: Model, use: Callable[[Dataset, Model], object]) -> None:
    busi(tmp_path, (1, 1, 1))
    pages = [Image.fromarray(scan(seed)[0]) for seed in (1, 2)]
    pages[0].save(tmp_path / "benign/benign (1).png", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match=r"benign \(1\)\.png.*several frames or pages"):
        use(open_dataset(tmp_path), small_model)


def test_two_samples_of_one_id_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"a\.png: is in the data set 2 times"):
        named(("a.png", None, None), ("a.png", None, None))


def test_an_audit_makes_copies_one_group_across_patients() -> None:
    data = named(("a", "benign", "p1"), ("b", "benign", "p2"), ("c", "benign", "p2"), ("d", "benign", None), ("e", "benign", None))
    data = Dataset((*data, Sample(id="f", image=Path("f"), label="benign")), "made")
    grouped = data.apply_audit(Found((("a", "b"), ("c", "d"))))
    assert [sample.group for sample in grouped] == ["p1 + p2"] * 4 + [None] * 2
    assert [sample.group for sample in data.apply_audit(Found((("e", "f"),)))][4:] == ["same scan as e"] * 2


def test_conflicts_are_dropped_unless_kept() -> None:
    data = named(("a", "benign", None), ("b", "malignant", None), ("c", "benign", None))
    audit = Found((("a", "b"),), (("a", "b"),))
    assert data.apply_audit(audit).ids == ("c",)
    assert data.apply_audit(audit, conflicts="keep").ids == ("a", "b", "c")


def test_the_first_copy_with_label_and_mask_is_kept() -> None:
    data = Dataset(
        (
            Sample(id="a", image=Path("a")),
            Sample(id="b", image=Path("b"), label="benign", masks=(Path("m"),)),
            Sample(id="c", image=Path("c"), label="benign", masks=(Path("m"),)),
            Sample(id="d", image=Path("d"), label="benign"),
        ),
        "made",
    )
    assert data.apply_audit(Found((("a", "b", "c"),)), duplicates="first").ids == ("b", "d")


def test_an_audit_of_other_data_and_unknown_choices_are_refused() -> None:
    data = named(("a", "benign", None))
    with pytest.raises(OptionError, match="another data set"):
        data.apply_audit(Found((("x", "y"),)))
    with pytest.raises(OptionError, match="'drop', 'keep'"):
        data.apply_audit(Found(), conflicts="maybe")


def test_combine_maps_classes_and_keeps_patients_apart() -> None:
    one = Dataset(named(("a", "Benign", "1"), ("b", "cyst", "2")).samples, "cairo")
    other = Dataset(named(("a", "benign", "1"), ("c", None, None)).samples, "rio")
    both = combine(one, other, class_map={"Benign": "benign", "cyst": None})
    assert both.ids == ("cairo/a", "rio/a", "rio/c")
    assert [sample.label for sample in both] == ["benign", "benign", None]
    assert [sample.group for sample in both] == ["cairo/1", "rio/1", None]
    assert combine(one, one).ids == ("cairo/a", "cairo/b", "cairo-2/a", "cairo-2/b")


def test_combine_refuses_a_map_of_labels_that_nobody_has() -> None:
    with pytest.raises(OptionError, match=r"'bening'.*benign"):
        combine(named(("a", "benign", None)), named(("a", "benign", None)), class_map={"bening": "benign"})
    with pytest.raises(OptionError, match="two data sets"):
        combine(named(("a", "benign", None)))


def test_the_same_picture_has_the_same_hash_however_it_is_saved(tmp_path: Path) -> None:
    pixels = scan(1)[0]
    paths = [
        save(tmp_path / "a.png", pixels),
        save(tmp_path / "b.bmp", pixels),
        save(tmp_path / "c.png", pixels, compress_level=0),
        save(tmp_path / "d.png", np.dstack([pixels] * 3)),
    ]
    assert len({content_hash(path) for path in paths}) == 1
    changed = pixels.copy()
    changed[0, 0] ^= 1
    assert content_hash(save(tmp_path / "e.png", changed)) != content_hash(paths[0])
    assert content_hash(save(tmp_path / "f.png", pixels.T)) != content_hash(paths[0])


def test_a_file_that_is_replaced_gets_a_new_hash(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", scan(1)[0])
    before = content_hash(path)
    Image.fromarray(scan(2)[0]).save(path)
    assert content_hash(path) != before
    path.unlink()
    with pytest.raises(ImageNotFoundError):
        content_hash(path)


def test_opening_reads_no_file(tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(b"no image")
    assert len(open_dataset(tmp_path)) == 2


def test_every_error_is_of_the_one_family(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BcdsegError):
            open_dataset(path)
