"""Speed of `fit`, against the same step on ready tensors and against a loop that a person would write.

    python benchmarks/train.py [DATA] [--scans 96] [--repeats 5] [--encoders tu-tf_efficientnet_lite0 plain_cnn]

DATA is a folder that `bcdseg.open_dataset` opens; by default scans of 471 x 562 pixels are made. The things compared
alternate, A B C A B C; a ratio is the median over these rounds, with its quartiles, since machines differ and drift. The rate of
`fit` is that of its epochs after the first, with all that belongs to an epoch: loading, augmentation, steps, running average
of the weights, validation (of three scans), checkpoints, the log.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("", "tests")]
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: E402
import cv2  # noqa: E402
import made  # noqa: E402
import numpy as np  # noqa: E402
import segmentation_models_pytorch as smp  # noqa: E402
import torch  # noqa: E402
from albumentations.pytorch import ToTensorV2  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

import bcdseg  # noqa: E402
from bcdseg.networks import encoders  # noqa: E402
from bcdseg.training.config import AUGMENT, FitConfig  # noqa: E402
from bcdseg.training.data import loaders  # noqa: E402
from bcdseg.training.data.sampling import class_weights  # noqa: E402
from bcdseg.training.loop.task import build_optimizer  # noqa: E402
from bcdseg.training.losses import JointLoss  # noqa: E402

BATCH = 16
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
CLASSES = ("normal", "benign", "malignant")
EPOCHS = 3
Rate = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="a data set of normal, benign and malignant scans with masks")
    parser.add_argument("--scans", type=int, default=96, help="of an epoch")
    parser.add_argument("--size", type=int, default=256, help="height and width of the network input")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--encoders", nargs="+", default=["tu-tf_efficientnet_lite0", "plain_cnn"])
    parser.add_argument("--workers", type=int, nargs="+", default=[], help="compare these numbers of workers instead")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # of other libraries; they would stand between the rows
    where = torch.cuda.get_device_name() if GPU else f"{torch.get_num_threads()} threads"
    print(
        f"torch {torch.__version__} on {where}, {options.size}x{options.size}, batches of {BATCH}, {options.scans} scans an epoch\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        train, val = parts(options.data or made_scans(Path(folder), options.scans + 3), options.scans)
        if options.workers:
            compare_workers(train, val, options)
            return
        columns = [
            "`fit`, images/s",
            "the same step on ready tensors",
            "ratio (goal 0.9)",
            "a loop as one writes it",
            "ratio (goal 1)",
        ]
        print(f"| encoder | {' | '.join(columns)} |")
        print("|---|---|---|---|---|---|")
        for encoder in options.encoders:
            rates: list[Rate] = [make(encoder, options.size, train, val) for make in (fit, bare, by_hand)]
            rounds = [[rate() for rate in rates] for _ in range(options.repeats)]
            ours, ready, hand = zip(*rounds, strict=True)
            row = [encoder, middle(ours), middle(ready), ratio(ours, ready), middle(hand), ratio(ours, hand)]
            print(f"| {' | '.join(row)} |", flush=True)
        preparing(train, options.size)


def preparing(train: bcdseg.Dataset, size: int) -> None:
    """Print the processor time that a scan takes before it reaches the network, in one thread."""
    print("\n| augmentation | first epoch, ms per scan | later epochs, ms per scan |\n|---|---|---|")
    options = {"preprocessing": bcdseg.Preprocessing(size=(size, size)), "classes": CLASSES, "no_lesion": "normal"}
    for augment in AUGMENT:
        loader = loaders.training_loader(train, config=FitConfig(batch_size=BATCH, workers=0, augment=augment), **options)
        spent = []
        for epoch in range(4):
            loaders.set_epoch(loader, epoch)
            start = time.process_time()
            scans = sum(len(batch) for batch in loader)
            spent.append((time.process_time() - start) / scans * 1e3)
        print(f"| {augment} | {spent[0]:.1f} | {min(spent[1:]):.2f} |", flush=True)


def compare_workers(train: bcdseg.Dataset, val: bcdseg.Dataset, options: argparse.Namespace) -> None:
    print(f"| encoder | {' | '.join(f'{n} workers, images/s' for n in options.workers)} |")
    print(f"|---|{'---|' * len(options.workers)}")
    for encoder in options.encoders:
        rates = [fit(encoder, options.size, train, val, workers=number) for number in options.workers]
        rounds = [[rate() for rate in rates] for _ in range(options.repeats)]
        print(f"| {encoder} | {' | '.join(middle(column) for column in zip(*rounds, strict=True))} |", flush=True)


def parts(folder: Path, count: int) -> tuple[bcdseg.Dataset, bcdseg.Dataset]:
    """Return `count` scans to train on, and one of each class to validate on."""
    data = bcdseg.open_dataset(folder, on_problem="skip")
    val = [next(sample.id for sample in data if sample.label == name) for name in CLASSES]
    rest = [sample.id for sample in data if sample.id not in val and sample.masks]
    chosen = [rest[at] for at in np.random.default_rng(0).permutation(len(rest))[:count]]
    return data.select(chosen), data.select(val)


def made_scans(folder: Path, count: int) -> Path:
    for number in range(count):
        label = CLASSES[number % 3]
        pixels, mask = made.scan(number, label, (471, 562))
        made.save(folder / label / f"{label} ({number}).png", pixels)
        made.save(folder / label / f"{label} ({number})_mask.png", mask)
    return folder


def fit(encoder: str, size: int, train: bcdseg.Dataset, val: bcdseg.Dataset, **options: int) -> Rate:
    torch.manual_seed(0)
    model = bcdseg.create(encoder, classes=CLASSES, size=size)
    config = FitConfig(epochs=EPOCHS, batch_size=BATCH, progress=False, calibrate=False, **options)

    def rate() -> float:
        with tempfile.TemporaryDirectory() as folder:
            run = bcdseg.fit(model, train, val, out=Path(folder) / "run", config=config)
        return trained_scans(train) * (EPOCHS - 1) / sum(row["seconds"] for row in run.history[1:])

    return rate


def bare(encoder: str, size: int, train: bcdseg.Dataset, _val: bcdseg.Dataset) -> Rate:
    """Train with network, loss, backward, clipping, optimiser and running average on batches in memory."""
    torch.manual_seed(0)
    model = bcdseg.create(encoder, classes=CLASSES, size=size)
    config = FitConfig(batch_size=BATCH, workers=0)
    options = {"preprocessing": model.preprocessing, "classes": CLASSES, "no_lesion": "normal", "config": config}
    batches = [batch.to(DEVICE) for batch in loaders.training_loader(train, **options)]
    network = model.network.to(DEVICE, memory_format=torch.channels_last).train()
    loss = JointLoss(class_weights=class_weights(train, CLASSES)).to(DEVICE)
    optimizer = build_optimizer(network, loss, config)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
    torch.set_flush_denormal(True)

    def epoch() -> None:
        for batch in batches:
            with precision():
                total = loss(network(batch.image.contiguous(memory_format=torch.channels_last)), batch.truth).total
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()
            average.update_parameters(network)

    return timed(epoch, trained_scans(train))


def by_hand(encoder: str, size: int, train: bcdseg.Dataset, _val: bcdseg.Dataset) -> Rate:
    """Train as a tutorial does: smp's U-Net with its class head, files decoded each time, fewer augmentations than in `fit`."""
    encoders.register()
    torch.manual_seed(0)
    options = {"classes": len(CLASSES), "dropout": 0.3}
    network = smp.Unet(encoder, encoder_weights=None, in_channels=1, classes=1, aux_params=options).to(DEVICE).train()
    dice, pixels, classes = smp.losses.DiceLoss("binary"), torch.nn.BCEWithLogitsLoss(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    scans = DataLoader(
        FilesAsTheyAre(train, size), BATCH, shuffle=True, drop_last=True, num_workers=workers_by_hand(), pin_memory=GPU
    )

    def epoch() -> None:
        for image, mask, label in scans:
            image, mask, label = (tensor.to(DEVICE, non_blocking=True) for tensor in (image, mask, label))
            with precision():
                outline, logits = network(image)
                total = dice(outline, mask) + pixels(outline, mask) + 0.5 * classes(logits, label)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return timed(epoch, trained_scans(train))


class FilesAsTheyAre(torch.utils.data.Dataset):
    def __init__(self, train: bcdseg.Dataset, size: int) -> None:
        self.samples = train.samples
        self.changes = A.Compose(
            [
                A.Resize(size, size),
                A.HorizontalFlip(p=0.5),
                A.Affine(scale=(0.8, 1.2), rotate=(-15, 15), translate_percent=0.1, p=0.8),
                A.RandomBrightnessContrast(p=0.5),
                A.GaussNoise(p=0.2),
                A.Normalize(mean=0.5, std=0.5),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        sample = self.samples[index]
        image = cv2.imread(str(sample.image), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(sample.masks[0]), cv2.IMREAD_GRAYSCALE)
        out = self.changes(image=image[..., None], mask=(mask > 127).astype(np.float32))
        return out["image"], out["mask"][None], CLASSES.index(sample.label)


def workers_by_hand() -> int:
    return min(8, os.cpu_count() or 1)


def precision() -> torch.autocast:
    """Return the precision that `fit` chooses: bf16 on a GPU that supports it."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=GPU and torch.cuda.is_bf16_supported())


def trained_scans(train: bcdseg.Dataset) -> int:
    return len(train) // BATCH * BATCH


def timed(epoch: Callable[[], None], scans: int) -> Rate:
    """Return the rate of the epochs after the first."""

    def rate() -> float:
        epoch()
        start = time.perf_counter()
        for _ in range(EPOCHS - 1):
            epoch()
        if GPU:
            torch.cuda.synchronize()
        return scans * (EPOCHS - 1) / (time.perf_counter() - start)

    return rate


def middle(rates: Iterator[float] | tuple[float, ...]) -> str:
    return f"{statistics.median(rates):.1f}"


def ratio(ones: tuple[float, ...], others: tuple[float, ...]) -> str:
    low, half, high = statistics.quantiles([one / other for one, other in zip(ones, others, strict=True)], n=4)
    return f"{half:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
