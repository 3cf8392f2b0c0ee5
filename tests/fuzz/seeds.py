"""Files from which the fuzzer starts: small, valid, and of each kind that is read."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
from made_dicom import content, dicom, region
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from bcdseg.training.config import FitConfig, to_toml

GRAY = np.random.default_rng(0).integers(0, 255, (24, 32), dtype=np.uint8)
LARGER = np.tile(GRAY, (2, 2))  # JPEG 2000 takes nothing smaller
COLOUR = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=-1)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def images() -> dict[str, bytes]:
    gray, colour = Image.fromarray(GRAY), Image.fromarray(COLOUR)
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    made = {
        "gray.png": _saved(gray, "PNG"),
        "colour.png": _saved(colour, "PNG"),
        "deep.png": _saved(deep, "PNG"),
        "palette.png": _saved(colour.quantize(16), "PNG", transparency=3),
        "alpha.png": _saved(colour.convert("RGBA"), "PNG"),
        "bits.png": _saved(gray.convert("1"), "PNG"),
        "gray.jpg": _saved(gray, "JPEG"),
        "progressive.jpg": _saved(colour, "JPEG", progressive=True),
        "cmyk.jpg": _saved(colour.convert("CMYK"), "JPEG"),
        "turned.jpg": _saved(colour, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
        "gray.bmp": _saved(gray, "BMP"),
        "colour.bmp": _saved(colour, "BMP"),
        "colour.webp": _saved(colour, "WEBP"),
        "lossless.webp": _saved(colour, "WEBP", lossless=True),
        "animated.webp": _saved(colour, "WEBP", save_all=True, append_images=[colour.rotate(90)]),
        "deep.tif": _saved(deep, "TIFF"),
        "float.tif": _saved(Image.fromarray(GRAY.astype(np.float32) / 255), "TIFF"),
        "big.tif": _saved(gray, "TIFF", big_tiff=True),
    }
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"):
        picture = gray.convert("1") if compression == "group4" else gray
        made[f"{compression}.tif"] = _saved(picture, "TIFF", compression=compression)
    return made


def dicoms() -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = {
            "plain.dcm": content(dicom(GRAY, region((4, 4, 20, 30)), region((2, 2, 4, 4)))),
            "colour.dcm": content(dicom(COLOUR)),
            "deep.dcm": content(dicom(GRAY.astype(np.int16) * 100, WindowCenter="9000", WindowWidth="400", RescaleSlope="1.5")),
            "clip.dcm": content(dicom(np.stack([GRAY, GRAY[::-1]]), region((4, 4, 20, 30)), clip=True)),
        }
        for name, syntax in (("rle", RLELossless), ("jpeg2000", JPEG2000Lossless), ("jpegls", JPEGLSLossless)):
            compressed = dicom(LARGER, region((4, 4, 20, 30)))
            compressed.compress(syntax, encoding_plugin="", generate_instance_uid=False)
            made[f"{name}.dcm"] = content(compressed)
        jpeg = dicom(GRAY)
        jpeg.PixelData, jpeg.file_meta.TransferSyntaxUID = encapsulate([_saved(Image.fromarray(GRAY), "JPEG")]), JPEGBaseline8Bit
        jpeg["PixelData"].is_undefined_length = True
        made["jpeg.dcm"] = content(jpeg)
        deflated = dicom(GRAY)
        deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        made["deflated.dcm"] = content(deflated)
    return made


ROWS = [
    ["id", "image", "mask", "label", "group", "split", "spacing"],
    ["one", "a.png", "a_mask.png", "benign", "p1", "train", "0.1"],
    ["two", "b.png", "a_mask.png;b_mask.png", "malignant", "p2", "test", "0.1;0.2"],
    ["three", "a.png", "", "normal", "", "val", ""],
]


def tables() -> dict[str, bytes]:
    text = io.StringIO()
    csv.writer(text).writerows(ROWS)
    made = {"table.csv": text.getvalue().encode(), "table.tsv": text.getvalue().replace(",", "\t").encode()}
    made["table.xlsx"], made["table.parquet"] = _excel(), _parquet()
    predictions = [
        ["id", "label", "probability_benign", "probability_malignant", "mask"],
        ["one", "benign", "0.75", "0.25", "predicted.png"],
    ]
    text = io.StringIO()
    csv.writer(text).writerows(predictions)
    return made | {"predictions.csv": text.getvalue().encode()}


def _excel() -> bytes:
    from openpyxl import Workbook

    book, buffer = Workbook(), io.BytesIO()
    for row in ROWS:
        book.active.append(row)
    book.save(buffer)
    packed = io.BytesIO()  # stored without compression, so that changed bytes reach the XML
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return packed.getvalue()


def _parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    columns = {name: [row[at] for row in ROWS[1:]] for at, name in enumerate(ROWS[0])}
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer, compression="none")
    return buffer.getvalue()


def configs() -> dict[str, bytes]:
    import yaml

    toml = to_toml(FitConfig())
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(FitConfig()).items()}
    return {"config.toml": toml.encode(), "config.yaml": yaml.safe_dump(values).encode()}


@contextmanager
def ignored_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
