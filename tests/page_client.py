"""The page's side of its server: what it sends and receives."""

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
    """A page's side of the talk."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.told = client.post("/api/session").json()
        self.root = f"/api/{self.told['token']}"

    def add(self, file: bytes, name: str = "scan.png") -> list[dict[str, str]]:
        reply = self.client.post(f"{self.root}/scans", params={"name": name}, content=file)
        assert reply.status_code == 200, reply.text
        return reply.json()["scans"]

    def get(self, scan: dict[str, str], what: str, **asked: object) -> Any:
        return self.client.get(f"{self.root}/scans/{scan['id']}/{what}", params=asked)

    def answer(self, scan: dict[str, str], **asked: object) -> dict[str, Any]:
        reply = self.get(scan, "answer", **asked)
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
