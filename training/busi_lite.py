"""Make the bundled model: train on BUSI at 256x256, choose the thresholds, measure, and save the model folder.

    python training/busi_lite.py BUSI256 BUSI_NATIVE bcdseg/model/weights/busi-lite --checkpoint RUN.pt

Takes about an hour on two cores. Stopped, it goes on from the checkpoint. Parts: busi_split.csv beside this file.
Needs Python 3.11 and the extras `train` and `imagenet-lite`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tomllib
import torch
from figures import figures, predict_all
from PIL import Image
from remember import CARD, SPLIT, seen_scans
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

import bcdseg
from bcdseg.data import augment
from bcdseg.data.duplicates import duplicate_groups
from bcdseg.infer.rules import Rules
from bcdseg.network.config import NetworkConfig
from bcdseg.network.losses import JointLoss, Truth
from bcdseg.network.network import Network, build_network
from bcdseg.network.pretrained import load_pretrained

CLASSES = ("normal", "benign", "malignant")
SIZE = (256, 256)
MEAN, STD = 0.5, 0.5
EPOCHS, BATCH, PEAK_RATE, DECAY, SEED = 40, 16, 1.5e-3, 1e-3, 0
NETWORK = NetworkConfig(encoder="tu-tf_efficientnet_lite0", classes=CLASSES, no_lesion="normal")


class Scans(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """The scans of one part, decoded once and kept; augmented each time one is asked for."""

    def __init__(self, folder: Path, names: Sequence[str], strength: str) -> None:
        self.names = names
        self.labels = [CLASSES.index(name.split("/")[0]) for name in names]
        self.images = [np.array(Image.open(folder / name).convert("L")) for name in self.names]
        self.masks = [np.array(Image.open(folder / name.replace(".png", "_mask.png")).convert("L")) > 127 for name in self.names]
        self.augment = augment.build(strength, SIZE, seed=SEED)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        out = self.augment(image=self.images[index][..., None], mask=self.masks[index].astype(np.uint8))
        image = torch.from_numpy(out["image"].squeeze()).float()[None] / 255
        return (image - MEAN) / STD, torch.from_numpy(out["mask"]).float()[None], self.labels[index]


def scans_of(name: str) -> list[str]:
    """The scans of a part of the split."""
    with SPLIT.open(newline="") as file:
        return [row["image"] for row in csv.DictReader(file) if row["part"] == name]


def train(folder: Path, checkpoint: Path) -> Network:
    """The averaged weights after EPOCHS epochs; no epoch is picked, so validation data stays fresh for the thresholds."""
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)  # numbers too small to matter are slow on a CPU
    data = Scans(folder, scans_of("train"), "default")
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
            value = loss(network(image.to(memory_format=torch.channels_last)), truth).total
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
            mask_logits, logits, mask, label = outputs(average.module, Scans(folder, scans_of("val"), "none"))
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


def choose_rules(network: torch.nn.Module, folder: Path) -> Rules:
    """Speck size, temperature and confidence threshold, none of them from test scans.

    Speck size: half the smallest lesion of the training masks. Temperature: the least negative log-likelihood of the validation
    scans. Confidence threshold: the least sure tenth of them lies below it. The mask threshold stays at one half: the few
    validation scans don't tell thresholds from 0.3 to 0.7 apart.
    """
    smallest = min(mask.mean() for mask in Scans(folder, scans_of("train"), "none").masks if mask.any())
    _, logits, _, label = outputs(network, Scans(folder, unseen(folder, "val"), "none"))
    temperatures = np.geomspace(0.5, 3, 60)
    likelihood = [_log_softmax(logits / t)[np.arange(len(label)), label].mean() for t in temperatures]
    temperature = float(temperatures[int(np.argmax(likelihood))])
    confidence = np.exp(_log_softmax(logits / temperature)).max(axis=1)
    return Rules(
        min_lesion_share=round(float(smallest) / 2, 4),
        temperature=round(temperature, 4),
        min_confidence=round(float(np.quantile(confidence, 0.1)), 3),
    )


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def unseen(folder: Path, wanted: str) -> list[str]:
    """The scans of a part, one of each group of duplicates, without those that the library's audit finds a twin of elsewhere.

    The split was made with a coarser look for twins than the audit's; what the audit finds besides is left out here.
    """
    with SPLIT.open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    twins = {one: group for group in duplicate_groups(bcdseg.open_dataset(folder)) for one in group}
    chosen: list[str] = []
    seen: set[str] = set()
    for name in sorted(name for name, row in rows.items() if row["part"] == wanted):
        group = twins.get(name, (name,))
        groups = {rows[one]["group"] for one in group}
        if all(rows[one]["part"] == wanted for one in group) and not groups & seen:
            chosen.append(name)
        seen |= groups
    return chosen


def describe(model: bcdseg.Model, data: Path, native: Path) -> dict[str, object]:
    """What the card says; its figures are measured here."""
    names = unseen(data, "test")
    rows = predict_all(model, data, names)
    counts = {name: int((rows["label"] == index).sum()) for index, name in enumerate(CLASSES)}
    both = [name for name in names if (native / name).exists() and not name.startswith("normal")]
    at_native, at_256 = (predict_all(model, folder, both)["dice"].mean() for folder in (native, data))
    measured = figures(rows)
    measured["lesion Dice of the same lesions at native size"] = f"{at_native:.3f} (at 256x256: {at_256:.3f}; {len(both)} scans)"
    split = f"{len(names)} scans ({', '.join(f'{count} {name}' for name, count in counts.items())}) of the test part. "
    split += f"Temperature and confidence threshold were chosen on {len(unseen(data, 'val'))} scans of the validation part."
    return {**tomllib.loads(CARD.read_text(encoding="utf-8")), "name": "busi-lite", "measured on": split, "figures": measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    parser.add_argument("native", type=Path, help="the same scans at their own size")
    parser.add_argument("out", type=Path, help="where to save the model")
    parser.add_argument("--checkpoint", type=Path, required=True)
    options = parser.parse_args()
    network = train(options.data, options.checkpoint).eval()
    rules = choose_rules(network, options.data)
    preprocessing = bcdseg.Preprocessing(size=SIZE, mean=(MEAN,), std=(STD,))
    model = bcdseg.Model(network, preprocessing, rules, name="busi-lite", device="cpu")
    model.training = {**describe(model, options.data, options.native), "seen": seen_scans(options.data, options.native)}
    model.save(options.out, half=True, overwrite=True)
    print(bcdseg.load(options.out).card)


if __name__ == "__main__":
    main()
