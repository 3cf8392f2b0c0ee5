"""Make the bundled model: train on BUSI at 256x256, choose the thresholds, measure, and save the model folder.

    python training/busi_lite.py BUSI256 BUSI_NATIVE bcdseg/model/weights/busi-lite --checkpoint RUN.pt

Takes about an hour on two cores. Stopped, it goes on from the checkpoint. Parts: busi_split.csv beside this file.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from pathlib import Path

import numpy as np
import tomllib
import torch
from figures import figures, predict_all
from PIL import Image
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

import bcdseg
from bcdseg.data import augment
from bcdseg.data.duplicates import duplicate_groups
from bcdseg.infer.lesions import find_lesions
from bcdseg.infer.rules import Rules
from bcdseg.network.config import NetworkConfig
from bcdseg.network.losses import JointLoss, Truth
from bcdseg.network.network import Network, build_network
from bcdseg.network.pretrained import load_pretrained

CLASSES = ("normal", "benign", "malignant")
CARD = Path(__file__).parent / "busi_lite_card.toml"
SIZE = (256, 256)
MEAN, STD = 0.5, 0.5
EPOCHS, BATCH, PEAK_RATE, DECAY, SEED = 40, 16, 1.5e-3, 1e-3, 0
NETWORK = NetworkConfig(encoder="tu-tf_efficientnet_lite0", classes=CLASSES, no_lesion="normal")


class Scans(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """The scans of one part, decoded once and kept; augmented each time one is asked for."""

    def __init__(self, folder: Path, part: str, strength: str) -> None:
        rows = [row for row in csv.DictReader((Path(__file__).parent / "busi_split.csv").open()) if row["part"] == part]
        self.names = [row["image"] for row in rows]
        self.labels = [CLASSES.index(row["label"]) for row in rows]
        self.images = [np.array(Image.open(folder / name).convert("L")) for name in self.names]
        self.masks = [np.array(Image.open(folder / name.replace(".png", "_mask.png")).convert("L")) > 127 for name in self.names]
        self.augment = augment.build(strength, SIZE, seed=SEED)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        out = self.augment(image=self.images[index][..., None], mask=self.masks[index].astype(np.uint8))
        image = torch.from_numpy(out["image"].squeeze()).float()[None] / 255
        return (image - MEAN) / STD, torch.from_numpy(out["mask"]).float()[None], self.labels[index]


def train(folder: Path, checkpoint: Path) -> Network:
    """The averaged weights after EPOCHS epochs; no epoch is picked, so validation data stays fresh for the thresholds."""
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)  # numbers too small to matter are slow on a CPU
    data = Scans(folder, "train", "default")
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=1, persistent_workers=True)
    network = build_network(NETWORK)
    load_pretrained(network.encoder, NETWORK.encoder, "imagenet")
    network = network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    counts = torch.bincount(torch.tensor(data.labels)).float()
    loss = JointLoss(class_weights=(counts.mean() / counts).sqrt())
    optimizer = torch.optim.AdamW(_groups(network), weight_decay=DECAY)
    steps = EPOCHS * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [PEAK_RATE / 3, PEAK_RATE], total_steps=steps, pct_start=0.15)
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    first = _resume(checkpoint, parts)
    for epoch in range(first, EPOCHS):
        start, total = time.perf_counter(), 0.0
        network.train()
        for image, mask, label in loader:
            truth = Truth(mask, torch.ones(len(mask), dtype=torch.bool), label)
            value = loss(network(image.to(memory_format=torch.channels_last)), truth)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += value.item() / len(loader)
        torch.save({"epoch": epoch + 1, **{name: part.state_dict() for name, part in parts.items()}}, checkpoint)
        quick = ""
        if epoch % 5 == 4:
            mask_logits, logits, mask, label = outputs(average.module, Scans(folder, "val", "none"))
            lesion_dice, correct = dice(mask_logits > 0, mask)[label > 0], logits.argmax(1) == label
            quick = f"  val lesion Dice {lesion_dice.mean():.3f}  accuracy {correct.mean():.3f}"
        print(f"epoch {epoch + 1:3d}  loss {total:.4f}  {time.perf_counter() - start:.0f} s{quick}", flush=True)
    return average.module


def outputs(network: torch.nn.Module, data: Scans) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mask logits, class logits, masks and labels of a part."""
    network.eval()
    rows = []
    with torch.inference_mode():
        for image, mask, label in DataLoader(data, BATCH):
            out = network(image.to(memory_format=torch.channels_last))
            rows.append((out.mask[:, 0].numpy(), out.classes.numpy(), mask[:, 0].numpy() > 0.5, label.numpy()))
    a, b, c, d = (np.concatenate(column) for column in zip(*rows, strict=True))
    return a, b, c, d


def dice(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Dice of each scan; two empty masks agree, one empty mask is a miss."""
    both = (one & other).sum(axis=(1, 2))
    total = one.sum(axis=(1, 2)) + other.sum(axis=(1, 2))
    return np.where(total == 0, 1.0, 2 * both / np.maximum(total, 1))


def _groups(network: Network) -> list[dict[str, object]]:
    encoder = set(network.encoder.parameters())
    rest = [parameter for parameter in network.parameters() if parameter not in encoder]
    return [{"params": [p for p in network.parameters() if p in encoder]}, {"params": rest}]


def _resume(checkpoint: Path, parts: dict[str, object]) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    print(f"going on after epoch {state['epoch']}", flush=True)
    return int(state["epoch"])


def choose_rules(mask_logits: np.ndarray, logits: np.ndarray, mask: np.ndarray, label: np.ndarray) -> Rules:
    """Thresholds and temperature from validation scans.

    Mask threshold and speck size: the best mean Dice over the classes, where a normal scan counts 1 if nothing is outlined, else 0.
    Temperature: the least negative log-likelihood. Confidence threshold: the least sure tenth of the scans lies below it.
    """
    probability = 1 / (1 + np.exp(-mask_logits))
    best = max(
        (
            Rules(threshold=float(t), min_lesion_share=share)
            for t in np.arange(0.3, 0.71, 0.05).round(2)
            for share in (0.001, 0.002, 0.004, 0.008)
        ),
        key=lambda rules: _class_mean_dice(probability, mask, label, rules),
    )
    temperatures = np.geomspace(0.5, 3, 60)
    likelihood = [_log_softmax(logits / t)[np.arange(len(label)), label].mean() for t in temperatures]
    temperature = float(temperatures[int(np.argmax(likelihood))])
    confidence = np.exp(_log_softmax(logits / temperature)).max(axis=1)
    return dataclasses.replace(
        best, temperature=round(temperature, 4), min_confidence=round(float(np.quantile(confidence, 0.1)), 3)
    )


def _class_mean_dice(probability: np.ndarray, mask: np.ndarray, label: np.ndarray, rules: Rules) -> float:
    found = np.stack(
        [find_lesions(p >= rules.threshold, p, min_share=rules.min_lesion_share, spacing=None)[0] for p in probability]
    )
    values = dice(found, mask)
    return float(np.mean([values[label == one].mean() for one in np.unique(label)]))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def unseen(folder: Path) -> list[str]:
    """The test scans, one of each group of duplicates, without those that the library's audit finds a twin of elsewhere.

    The split was made with a coarser look for twins than the audit's; what the audit finds besides is left out here.
    """
    part = {row["image"]: row["part"] for row in csv.DictReader((Path(__file__).parent / "busi_split.csv").open())}
    group_of = {row["image"]: row["group"] for row in csv.DictReader((Path(__file__).parent / "busi_split.csv").open())}
    twins = {one: group for group in duplicate_groups(bcdseg.open_dataset(folder)) for one in group}
    chosen: list[str] = []
    seen: set[str] = set()
    for name in sorted(name for name in part if part[name] == "test"):
        group = twins.get(name, (name,))
        key = {group_of[one] for one in group}
        if all(part[one] == "test" for one in group) and not key & seen:
            chosen.append(name)
        seen |= key
    return chosen


def describe(model: bcdseg.Model, data: Path, native: Path) -> dict[str, object]:
    """What the card says; its figures are measured here."""
    names = unseen(data)
    rows = predict_all(model, data, names)
    counts = {name: int((rows["label"] == index).sum()) for index, name in enumerate(CLASSES)}
    both = [name for name in names if (native / name).exists() and not name.startswith("normal")]
    at_native, at_256 = (predict_all(model, folder, both)["dice"].mean() for folder in (native, data))
    measured = figures(rows)
    measured["lesion Dice of the same lesions at native size"] = f"{at_native:.3f} (at 256x256: {at_256:.3f}; {len(both)} scans)"
    split = f"figures from {len(names)} others ({', '.join(f'{count} {name}' for name, count in counts.items())})"
    return {**tomllib.loads(CARD.read_text(encoding="utf-8")), "name": "busi-lite", "split": split, "figures": measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    parser.add_argument("native", type=Path, help="the same scans at their own size")
    parser.add_argument("out", type=Path, help="where to save the model")
    parser.add_argument("--checkpoint", type=Path, required=True)
    options = parser.parse_args()
    network = train(options.data, options.checkpoint).eval()
    rules = choose_rules(*outputs(network, Scans(options.data, "val", "none")))
    preprocessing = bcdseg.Preprocessing(size=SIZE, mean=(MEAN,), std=(STD,))
    model = bcdseg.Model(network, preprocessing, rules, name="busi-lite", device="cpu")
    model.training = describe(model, options.data, options.native)
    model.save(options.out, half=True, overwrite=True)
    print(bcdseg.load(options.out).card)


if __name__ == "__main__":
    main()
