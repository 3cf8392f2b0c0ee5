"""Predictions as files, pictures and text."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_ellipse, draw_scan
from PIL import Image

from bcdseg import Failure, Flag, Prediction, errors
from bcdseg.batch.run_manifest import Journal
from bcdseg.batch.runner import OutputFolder
from bcdseg.files import write_whole
from bcdseg.inference.lesions import find_lesions
from bcdseg.inference.writers import csv_bytes, table_rows

TRUTH = draw_ellipse((120, 160), (60, 80), (20, 40))
CLASSES = ("normal", "benign", "malignant")


def _prediction(source: str = "a <b>scan.png", spacing: tuple[float, float] | None = None) -> Prediction:
    mask, lesions = find_lesions(TRUTH, TRUTH.astype(np.float32), min_share=0, spacing=spacing)
    return Prediction(
        source=source,
        label="benign",
        probabilities={"normal": 0.1, "benign": 0.7, "malignant": 0.2},
        mask=mask,
        mask_probability=TRUTH.astype(np.float32),
        lesions=lesions,
        flags=(Flag("low-confidence", "The class is unsure."),),
        spacing=spacing,
        threshold=0.5,
        image=draw_scan(0),
    )


def test_repr_is_short_and_complete() -> None:
    assert repr(_prediction()) == "<Prediction a <b>scan.png: benign 70 %, 80 x 40 px, low-confidence!>"
    assert "8.0 x 4.0 mm" in repr(_prediction(spacing=(0.1, 0.1)))


def test_html_is_whole_and_escaped() -> None:
    text = _prediction()._repr_html_()
    parser = HTMLParser()
    parser.feed(text)
    assert "&lt;b&gt;scan" in text
    assert "data:image/png;base64," in text
    assert "70.0 %" in text


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    written = _prediction().save(tmp_path / "new" / "folder", name="größe 1")
    assert [path.name for path in written] == ["größe 1.json", "größe 1_mask.png", "größe 1_overlay.png"]
    with Image.open(written[1]) as mask, Image.open(written[2]) as overlay:
        np.testing.assert_array_equal(np.array(mask) > 0, TRUTH)
        assert overlay.size == (160, 120)
    saved = json.loads(written[0].read_text(encoding="utf-8"))
    assert saved["label"] == "benign"
    assert saved["lesions"][0]["area_px"] == int(TRUTH.sum())


def test_nothing_is_replaced_by_default(tmp_path: Path) -> None:
    prediction = _prediction()
    prediction.save(tmp_path, name="x")
    (tmp_path / "x_mask.png").write_bytes(b"mine")
    with pytest.raises(errors.OutputExistsError, match="exists already") as caught:
        prediction.save(tmp_path, name="x")
    assert isinstance(caught.value, FileExistsError)
    assert (tmp_path / "x_mask.png").read_bytes() == b"mine"
    prediction.save(tmp_path, name="x", overwrite=True)
    assert (tmp_path / "x_mask.png").read_bytes() != b"mine"


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_whole(tmp_path / "x.json", "text, not bytes")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_overlay_outlines_the_lesion_and_leaves_the_rest() -> None:
    prediction = _prediction()
    picture = np.array(prediction.overlay()).astype(int)
    changed = np.abs(picture - prediction.image[..., None]).max(axis=2) > 0
    edge = draw_ellipse((120, 160), (60, 80), (22, 42)) & ~draw_ellipse((120, 160), (60, 80), (18, 38))
    axes = draw_ellipse((120, 160), (60, 80), (2, 42)) | draw_ellipse((120, 160), (60, 80), (22, 2))
    assert changed.any()
    assert not (changed & ~edge & ~axes).any()
    ring = TRUTH & ~draw_ellipse((120, 160), (60, 80), (19, 39))
    assert changed[ring].mean() > 0.9


@pytest.mark.parametrize("image", [draw_scan(0), np.repeat(draw_scan(0)[..., None], 3, 2), draw_scan(0).astype(np.float32) / 255])
def test_overlays_of_every_kind_of_image(image: np.ndarray) -> None:
    from dataclasses import replace

    assert replace(_prediction(), image=image).overlay().mode == "RGB"


def test_the_figure_shows_scan_heat_map_and_bars() -> None:
    figure = _prediction().plot()
    assert len(figure.axes) == 4  # with the colour bar
    buffer = io.BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_the_table_has_one_row_a_scan_and_lists_failures() -> None:
    results = [_prediction(), _prediction(spacing=(0.1, 0.1)), Failure("bad.png", errors.ImageError("bad.png: is empty."))]
    rows = list(csv.DictReader(io.StringIO(csv_bytes(table_rows(results, CLASSES), CLASSES).decode())))
    assert [row["label"] for row in rows] == ["benign", "benign", ""]
    assert rows[0]["probability_benign"] == "0.7"
    assert rows[0]["long_axis_mm"] == ""
    assert float(rows[1]["long_axis_mm"]) == pytest.approx(8, abs=0.05)
    assert rows[2]["error"] == "bad.png: is empty."


def test_output_names_keep_scans_apart(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("a/x.png", "b/x.png", "b/x.jpg", "b/y.z.png")]
    journal = Journal(tmp_path / "out", {}, resume=False, overwrite=False)
    folder = OutputFolder(tmp_path / "out", sources, journal, overlay=False)
    journal.write_header()
    for source in sources:
        folder.add(_prediction(str(source)))
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert made == ["a/x_mask.png", "b/x.jpg_mask.png", "b/x.png_mask.png", "b/y.z_mask.png"]


def test_sizes_are_rounded_once_in_the_table_of_the_command_line() -> None:
    from bcdseg.cli.predict_outputs import _size
    from bcdseg.inference.writers import csv_bytes

    row = {"source": "a.png", "label": "", "long_axis_mm": 17.7457, "short_axis_mm": 3.04}
    assert _size(row) == "17.7 x 3.0 mm"  # 17.8, when 17.7457 became 17.75 first
    assert "17.75,3.04" in csv_bytes([row], []).decode()
