"""Kinds of work that `benchmarks/chaos.py` interrupts; each is done, or resumed, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import bcdseg
from bcdseg.app.reviews.corrections import Corrections
from bcdseg.app.reviews.review import Review
from bcdseg.app.sessions import UploadedScan

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
CLASSES = ["normal", "benign", "malignant"]
REVISIONS = 2  # reviews of each scan


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kind of work.

    Attributes:
        run: Function that does the work in a folder, or resumes it there.
        check: Function that raises an error where a folder lacks what the work has reported as done.
    """

    run: Callable[[Path], None]
    check: Callable[[Path], None] = lambda _: None


def command(*arguments: object) -> None:
    from bcdseg.cli import app

    app([str(one) for one in arguments], standalone_mode=False)


def small_model() -> bcdseg.Model:
    return bcdseg.create("plain_cnn", classes=CLASSES, size=32, decoder_channels=(8, 8, 8, 8, 8), seed=0)


def works(model: Path) -> dict[str, Work]:
    # Without a decoder, a report has half the figures, and an export half the layers.
    classifier = bcdseg.create("plain_cnn", classes=CLASSES, size=32, decoder=None, seed=0).save(model.with_name("classifier"))

    def predict(folder: Path) -> None:
        command("predict", SAMPLE, "--model", model, "--out", folder / "out", *(["--resume"] if (folder / "out").exists() else []))

    def evaluate(folder: Path) -> None:
        command("evaluate", classifier, SAMPLE, "--out", folder / "report", "--draws", 20, "--gallery", 1, "--overwrite")

    def audit(folder: Path) -> None:
        with contextlib.suppress(SystemExit):  # the status is 1 if something was found
            command("audit", SAMPLE, "--out", folder / "audit", "--overwrite")

    def export(folder: Path) -> None:
        command("export", classifier, "--out", folder / "model.onnx", "--overwrite")

    def fit_site(folder: Path) -> None:
        site = folder / "site"
        command("fit-site", model, SAMPLE, "--out", site, "--report", folder / "site.json", "--draws", 20, "--overwrite")

    def save(folder: Path) -> None:
        saved = bcdseg.load(model, runtime="torch")
        for threshold in (0.3, 0.4, 0.5):
            saved.rules = bcdseg.Rules(threshold=threshold)
            saved.save(folder / "saved", overwrite=True)

    return {
        "predict": Work(run=predict),
        "train": Work(run=train),
        "evaluate": Work(run=evaluate),
        "audit": Work(run=audit),
        "export": Work(run=export),
        "fit-site": Work(run=fit_site),
        "save": Work(run=save),
        "corrections": corrections_of(model),
    }


def train(folder: Path) -> None:
    data, run = bcdseg.open_dataset(SAMPLE), folder / "run"
    held_out = [one for at, one in enumerate(data.ids) if not at % 4]
    parts = data.select(set(data.ids) - set(held_out)), data.select(held_out)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 4, "workers": 0, "calibrate": False, "pictures": False, "device": "cpu"}
    bcdseg.fit(small_model(), *parts, out=run, resume=run.exists(), progress=False, **options)


def corrections_of(model: Path) -> Work:
    """Return the work of a reader who reviews scans, some of them again; a review that was saved is noted next to the folder."""
    paths = sorted(path for path in SAMPLE.glob("benign/*.png") if "_mask" not in path.name)

    def notes(folder: Path) -> Path:
        return folder.with_name(f"{folder.name}.saved")

    def store(folder: Path) -> Corrections:
        return Corrections(folder / "corrections", most_bytes=2**30)

    def run(folder: Path) -> None:
        opened, loaded = store(folder), bcdseg.load(model, runtime="torch")
        predictions = {path: loaded.predict(path) for path in paths}
        for revision in range(REVISIONS):
            for path in paths:
                if {one.source: one.revision for one in opened.records()}.get(path.name, 0) > revision:
                    continue
                scan = UploadedScan(name=path.name, file_name=path.name, content=path.read_bytes())
                mask = np.zeros(predictions[path].size, bool)
                mask[10 + revision : 40, 10:50] = True
                review = Review(reader="A. Lee", verdict="accepted", label="benign", mask=mask, revision=revision)
                record, _ = opened.save(scan, review, predictions[path], "a-hash")
                note = os.open(notes(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.write(note, f"{path.name}\t{record.revision}\n".encode())
                os.close(note)

    def check(folder: Path) -> None:
        lines = notes(folder).read_text().splitlines() if notes(folder).exists() else []
        reported = {name: int(revision) for name, revision in (line.split("\t") for line in lines)}
        if not (folder / "corrections").exists():
            assert not reported, f"{reported} are lost"
            return
        opened = store(folder)
        found = {one.source: one for one in opened.records()}
        for name, revision in reported.items():
            assert found[name].revision >= revision, f"{name}: review {revision} is lost"
            with Image.open(SAMPLE / "benign" / name) as image:
                mask = opened.mask(found[name], (image.height, image.width))
            assert mask is not None, f"{name}: the outline of review {revision} is lost"
            assert mask.any(), f"{name}: the outline of review {revision} is empty"
        if reported:
            sources = {sample.facts["source"] for sample in bcdseg.open_dataset(folder / "corrections")}
            assert sources >= set(reported), f"{set(reported) - sources} are missing in the table"

    return Work(run=run, check=check)
