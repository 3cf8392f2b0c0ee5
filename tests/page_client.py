"""Client of the page's server: the requests of the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

import bcdseg

ORIGIN = "http://127.0.0.1:8765"


class Page:
    """Client of the page's server."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.session = client.post("/api/session").json()
        self.root = f"/api/{self.session['token']}"

    def add(self, file: bytes, name: str = "scan.png") -> list[dict[str, str]]:
        reply = self.client.post(f"{self.root}/scans", params={"name": name}, content=file)
        assert reply.status_code == 200, reply.text
        return reply.json()["scans"]

    def get(self, scan: dict[str, str], what: str, **options: object) -> Any:
        return self.client.get(f"{self.root}/scans/{scan['id']}/{what}", params=options)

    def prediction(self, scan: dict[str, str], **options: object) -> dict[str, Any]:
        reply = self.get(scan, "prediction", **options)
        assert reply.status_code == 200, reply.text
        return reply.json()


def save_model(folder: Path) -> Path:
    """Save a small untrained model."""
    import torch

    torch.manual_seed(1)
    model = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=64, decoder_channels=(32, 16, 16, 8, 8))
    return model.save(folder)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
