"""Readers to fuzz: each with its seed files, its mutations and a function that reads a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fuzz import requests, seeds
from fuzz.mutations import (
    BYTES,
    Mutation,
    change_cell,
    change_dicom_element,
    change_json,
    change_line,
    change_png_chunk,
    change_tiff_entry,
    nest_json,
)
from PIL import Image

from bcdseg import Dataset, Split, create, ensemble, load, load_split, open_dataset
from bcdseg.data.images import read_picture
from bcdseg.data.masks import read_mask
from bcdseg.data.readers import expand, read_scan
from bcdseg.dicom.deidentify import read_reference
from bcdseg.errors import BcdsegError

Read = Callable[[str, bytes], None]
"""Function that reads a file, given its name and content; it raises what the reader raises."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Reader to fuzz.

    Attributes:
        seeds: Function that returns valid files by name.
        mutations: Mutations by the suffix of a file's name.
        reading: Context manager that gets an empty folder, and yields the function that reads.
    """

    seeds: Callable[[], dict[str, bytes]]
    mutations: dict[str, tuple[Mutation, ...]]
    reading: Callable[[Path], AbstractContextManager[Read]]


@contextmanager
def _images(folder: Path) -> Iterator[Read]:
    def read(name: str, content: bytes) -> None:
        path = folder / name
        path.write_bytes(content)
        try:
            picture = read_picture(content, name)
        finally:
            _refused(lambda: read_mask((path,), (24, 32), resize=True))
        if not picture.has_more_frames:
            read_mask((path,), picture.pixels.shape[:2])

    yield read


@contextmanager
def _dicoms(folder: Path) -> Iterator[Read]:
    def read(name: str, content: bytes) -> None:
        path = folder / name
        path.write_bytes(content)
        _refused(lambda: read_reference(path, identity="shared"))
        _refused(lambda: read_mask((path,), (24, 32), resize=True))
        for frame in list(expand(path))[:3]:
            read_scan(frame)

    yield read


def _dataset(folder: Path) -> Dataset:
    """Write a data set of three samples, and open it."""
    folder = folder / "scans"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(seeds.GRAY[:, :: 1 if name == "a" else -1]).save(folder / f"{name}.png")
        Image.fromarray(seeds.GRAY > 200).save(folder / f"{name}_mask.png")
    (folder / "valid.csv").write_bytes(seeds.tables()["table.csv"])
    return open_dataset(folder / "valid.csv")


@contextmanager
def _tables(folder: Path) -> Iterator[Read]:
    from bcdseg.evaluation.external_predictions import read_predictions

    valid = _dataset(folder)
    scans = folder / "scans"
    Image.fromarray(seeds.GRAY > 150).save(scans / "predicted.png")

    def read(name: str, content: bytes) -> None:
        path = scans / name
        path.write_bytes(content)
        try:
            if name.startswith("predictions"):
                read_predictions(path, valid)
            else:
                dataset = open_dataset(path, on_problem="skip")
                dataset.to_csv(scans / "written.csv", overwrite=True)
                assert open_dataset(scans / "written.csv").ids == dataset.ids
        finally:
            path.unlink()

    yield read


@contextmanager
def _splits(folder: Path) -> Iterator[Read]:
    dataset = _dataset(folder)

    def read(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        repr(load_split(folder / name, dataset))

    yield read


def _split_seeds() -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(Path(folder))
        train, test = dataset.select(["one", "three"]), dataset.select(["two"])
        Split(train, train.select([]), test, 0, (0.5, 0.0, 0.5)).save(Path(folder) / "split.json")
        return {"split.json": (Path(folder) / "split.json").read_bytes()}


@contextmanager
def _configs(folder: Path) -> Iterator[Read]:
    from bcdseg.training.config import read_config

    def read(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        read_config(folder / name)

    yield read


CONFIG, WEIGHTS = "config.json", "model.safetensors"


def _model_seeds() -> dict[str, bytes]:
    import tempfile

    made = {}
    small = create("plain_cnn", classes=["benign", "malignant"], size=32, decoder_channels=(8, 8, 8, 8, 8), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("one", small), ("two", ensemble([small, small]))):
            saved = model.save(Path(folder) / name)
            made[f"{name}.json"] = (saved / CONFIG).read_bytes()
            made[f"{name}.safetensors"] = (saved / WEIGHTS).read_bytes()
    return made


@contextmanager
def _models(folder: Path) -> Iterator[Read]:
    valid = _model_seeds()

    def read(name: str, content: bytes) -> None:
        stem = "two" if name.startswith("two") else "one"
        config, weights = valid[f"{stem}.json"], valid[f"{stem}.safetensors"]
        if name.endswith(".json"):
            config = content
        else:
            document = json.loads(config)
            document["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
            config, weights = json.dumps(document).encode(), content
        model_folder = folder / "model"
        model_folder.mkdir(exist_ok=True)
        (model_folder / CONFIG).write_bytes(config)
        (model_folder / WEIGHTS).write_bytes(weights)
        load(model_folder, device="cpu", runtime="torch").predict(seeds.GRAY)

    yield read


def _refused(read: Callable[[], object]) -> None:
    with suppress(BcdsegError):
        read()


TARGETS: dict[str, Target] = {
    "images": Target(
        seeds=seeds.images,
        mutations={".png": (*BYTES, *[change_png_chunk] * 6), ".tif": (*BYTES, *[change_tiff_entry] * 6), "": BYTES},
        reading=_images,
    ),
    "dicom": Target(seeds=seeds.dicoms, mutations={"": (*BYTES, *[change_dicom_element] * 8)}, reading=_dicoms),
    "tables": Target(
        seeds=seeds.tables,
        mutations={".csv": (*BYTES, *[change_cell] * 8), ".tsv": (*BYTES, *[change_cell] * 4), "": BYTES},
        reading=_tables,
    ),
    "splits": Target(seeds=_split_seeds, mutations={"": (*BYTES, *[change_json] * 8, nest_json)}, reading=_splits),
    "configs": Target(seeds=seeds.configs, mutations={"": (*BYTES, *[change_line] * 8)}, reading=_configs),
    "models": Target(seeds=_model_seeds, mutations={".json": (*BYTES, *[change_json] * 20, nest_json), "": BYTES}, reading=_models),
    "serve": Target(seeds=requests.serve_requests, mutations={"": requests.MUTATIONS}, reading=requests.served),
    "app": Target(seeds=requests.app_requests, mutations={"": requests.MUTATIONS}, reading=requests.page),
}
