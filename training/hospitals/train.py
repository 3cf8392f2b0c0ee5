"""Train one network on packed scans of several hospitals, apart from those that are left out.

    python training/hospitals/train.py PACKED.npz RUN --leave-out bus-uclm --fold 0

``--leave-out`` leaves a whole hospital out, ``--fold`` a fifth of the groups of each of the others; these scans are never
trained on, and ``predict.py`` predicts them. ``--release`` leaves out the groups of ``data/sample`` alone. A run that was
stopped resumes, to the same weights. The same script runs on a CPU and on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import teachers as taught
import torch
from augment import Batch, choose_part, marked, place, restyle
from numpy.typing import NDArray
from pack import CLASSES, HOSPITALS, Packed
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sampling import NORMAL, presence_weights, sampling_weights
from torch import Tensor, nn
from torch.nn import functional as F
from transplant import LESIONS, Scan, with_lesion, with_tissue

import bcdseg
from bcdseg.files import write_whole
from bcdseg.networks.heads import Decisions
from bcdseg.networks.network import Network
from bcdseg.training.losses import DiceCrossEntropy

ENCODER, DECODER = "tu-tf_efficientnet_lite0", (128, 64, 48, 32, 16)
SAVE_EVERY = 50  # steps


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes:
        stages: Size of the input and number of steps, one after the other.
        batch: Scans per step.
        lr: Highest learning rate; it rises for the first steps and falls as a cosine over all stages.
        decay: Weight decay.
        average: Decay of the moving average of the weights.
        presence_weight: Weight of each of the two presence losses.
        class_weight: Weight of the loss of the lesion's class.
        seed: Seed of weights, order and augmentation.
        encoder: Name of the encoder.
        start: ``imagenet`` or ``random``, the name of a bundled model with the same encoder, a file of weights that this script
            wrote, or a file of ImageNet weights, ``ENCODER.pth``.
        shares: Fraction of the scans from each hospital, in the order of ``HOSPITALS``; empty for the root of their numbers.
        transplants: Fraction of the scans that get a lesion or normal tissue of another scan.
        constant: Whether the learning rate stays at its highest instead of falling, so that the average covers more of the loss's
            flat region (Cha et al., SWAD, NeurIPS 2021).
        balanced: Whether presence is learned within hospitals alone: a hospital without normal scans teaches none, and at each
            other hospital scans with and without a lesion weigh alike, so that presence doesn't follow from the hospital.
        softmax: Whether the pooled features decide on all classes with one softmax, as a control of the hierarchical head, which is
            built all the same: its decision by the mask's evidence stays untrained.
        teachers: Names of bundled models, or files of weights; the mean of their probabilities is a second target of each loss.
        windows: Fraction of the scans that are cut to a window such as the second pass of a prediction processes.
        bf16: Whether the forward pass runs in bfloat16, faster where the processor multiplies matrices in it.
    """

    stages: tuple[tuple[int, int], ...] = ((128, 1100), (192, 700))
    batch: int = 16
    lr: float = 1.2e-3
    decay: float = 0.02
    average: float = 0.995
    presence_weight: float = 0.3
    class_weight: float = 0.5
    seed: int = 0
    encoder: str = ENCODER
    start: str = "imagenet"
    shares: tuple[float, ...] = ()
    transplants: float = 0.0
    constant: bool = False
    balanced: bool = False
    softmax: bool = False
    teachers: tuple[str, ...] = ()
    windows: float = 0.0
    bf16: bool = False

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(steps for _, steps in self.stages)

    def size(self, step: int) -> int:
        """Height and width of the input at a step."""
        for size, steps in self.stages:
            if step < steps:
                return size
            step -= steps
        return self.stages[-1][0]

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        warm = 0.08 * self.steps
        if self.constant:
            return self.lr * min(1.0, step / warm)
        return self.lr * (step / warm if step < warm else 0.5 + 0.5 * float(np.cos(np.pi * (step - warm) / (self.steps - warm))))


class MixStyle(nn.Module):
    """Swap the statistics of early features between scans (Zhou et al., Domain generalization with MixStyle, ICLR 2021)."""

    def __init__(self, fraction: float = 0.5, alpha: float = 0.3) -> None:
        super().__init__()
        self.fraction, self.spread = fraction, torch.distributions.Beta(alpha, alpha)

    def __call__(self, module: nn.Module, _: Any, features: Tensor) -> Tensor:
        """Mix the features of a batch, as a forward hook."""
        if not module.training or float(torch.rand(())) >= self.fraction:
            return features
        mean, std = features.mean((2, 3), keepdim=True).detach(), features.std((2, 3), keepdim=True).detach() + 1e-5
        order = torch.randperm(len(features), device=features.device)
        share = self.spread.sample((len(features), 1, 1, 1)).to(features)
        mixed_mean = share * mean + (1 - share) * mean[order]
        mixed_std = share * std + (1 - share) * std[order]
        return (features - mean) / std * mixed_std + mixed_mean


class Source:
    """Batches of augmented scans; the batch of a step depends on seed and step alone."""

    def __init__(self, packed: Packed, chosen: NDArray[np.int64], recipe: Recipe, device: torch.device) -> None:
        self.packed, self.chosen, self.recipe, self.device = packed, chosen, recipe, device
        self.weights = sampling_weights(packed, chosen, recipe.shares)
        self.presence = np.ones((len(HOSPITALS), 2))
        if recipe.balanced:
            self.presence = presence_weights(packed, chosen, self.weights)
        normal = packed.labels[chosen] == NORMAL
        self.normals, self.lesions = chosen[normal], chosen[~normal]

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        rng = np.random.default_rng((self.recipe.seed, step))
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        rows = rng.choice(self.chosen, self.recipe.batch, p=self.weights)
        images, parts, drawn = [], [], []
        for row in rows:
            scan = self._transplanted(row, rng)
            images.append(marked(scan.image, scan.box, rng))
            parts.append(choose_part(scan.mask, scan.box, rng, self.recipe.windows))
            drawn.append(scan.mask)
        scans = torch.from_numpy(np.stack(images))[:, None].to(self.device).float() / 255
        lesions = torch.from_numpy(np.stack(drawn))[:, None].to(self.device).float()
        placed, masks = place(scans, lesions, torch.tensor(parts, device=self.device).float(), self.recipe.size(step), generator)
        labels = torch.from_numpy(self.packed.labels[rows]).to(self.device)
        area = masks.flatten(1).mean(dim=1)
        presence = (area > 0).float()
        weights = torch.from_numpy(self.presence[self.packed.hospitals[rows]]).to(presence)
        presence_weight = weights.gather(1, presence.long()[:, None])[:, 0]
        known = (area > 0.001) & (labels != NORMAL)
        return Batch(restyle(placed, generator), placed, masks, labels, presence, presence_weight, known)

    def _transplanted(self, row: int, rng: np.random.Generator) -> Scan:
        """Return a scan, some of the time with a lesion or normal tissue of another scan.

        A lesion that was moved lacks some of its surroundings, so its class is not trained on: the label stays normal.
        """
        scan = self._scan(row)
        if not self.recipe.transplants or rng.random() >= self.recipe.transplants:
            return scan
        donor = rng.choice(self.lesions)
        if self.packed.labels[row] == NORMAL and rng.random() < LESIONS:
            return with_lesion(scan, self._scan(donor), rng) or scan
        return with_tissue(scan, self._scan(rng.choice(self.normals)), self.packed.masks[donor], rng) or scan

    def _scan(self, row: int) -> Scan:
        return Scan(self.packed.images[row], self.packed.masks[row], self.packed.boxes[row])

    def __call__(self, start: int) -> Iterator[tuple[int, Batch]]:
        """Yield step and batch; the next batch is prepared while the last one trains."""
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.batch, start)
            for step in range(start, self.recipe.steps):
                batch = waiting.result()
                if step + 1 < self.recipe.steps:
                    waiting = pool.submit(self.batch, step + 1)
                yield step, batch


def normalised(images: Tensor) -> Tensor:
    """Normalise images as ``Preprocessing`` does, with a mean and standard deviation of 0.5."""
    return (images - 0.5) / 0.5


def losses(network: Network, batch: Batch, recipe: Recipe, mask_term: nn.Module, teachers: list[Network]) -> dict[str, Tensor]:
    """Return each loss of a batch, weighted."""
    images = normalised(batch.images).contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bf16):
        features = network.encoder(images)
        decoded = network.decoder(features)  # type: ignore[misc]
        mask = network.mask_head(decoded)  # type: ignore[misc]
        decisions = network.class_head.decide(features, decoded, mask)  # type: ignore[union-attr, operator]
    mask, decisions = mask.float(), Decisions(*(logits.float() for logits in decisions))
    mask_loss = mask_term(mask, batch.masks).mean()
    if recipe.softmax:
        return {"mask": mask_loss, "class": (recipe.presence_weight + recipe.class_weight) * softmax_loss(decisions, batch)}
    known = batch.class_known
    lesion_class = (batch.labels - 1).clamp(min=0)
    per_scan = F.cross_entropy(decisions.lesion_classes, lesion_class, reduction="none", label_smoothing=0.05)
    evidence, context = (presence_loss(logits, batch) for logits in (decisions.evidence, decisions.context))
    if teachers:
        soft = taught.soft_targets(teachers, normalised(batch.placed).contiguous(memory_format=torch.channels_last))
        mask_loss = mask_loss + taught.mask_loss(mask, soft)
        evidence = (evidence + taught.presence_loss(decisions.evidence, soft)) / 2
        context = (context + taught.presence_loss(decisions.context, soft)) / 2
        per_scan = (per_scan + taught.class_loss(decisions.lesion_classes, soft)) / 2
    return {
        "mask": mask_loss,
        "evidence": recipe.presence_weight * evidence,
        "context": recipe.presence_weight * context,
        "class": recipe.class_weight * (per_scan * known).sum() / known.sum().clamp(min=1),
    }


def presence_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Return the cross entropy with a little smoothing, since some normal scans contain a lesion that nobody outlined."""
    return F.binary_cross_entropy_with_logits(logits[:, 0], batch.presence * 0.94 + 0.03, batch.presence_weight)


def softmax_loss(decisions: Decisions, batch: Batch) -> Tensor:
    """Return the cross entropy of normal, benign and malignant; a part of a scan without its lesion is normal."""
    logits = torch.cat([decisions.context, decisions.lesion_classes], dim=1)
    absent = batch.presence == 0
    known = absent | batch.class_known
    per_scan = F.cross_entropy(logits, batch.labels.masked_fill(absent, NORMAL), reduction="none", label_smoothing=0.05)
    return (per_scan * known).sum() / known.sum().clamp(min=1)


def new_network(encoder: str, start: str) -> Network:
    """Return a network with a hierarchical head.

    Args:
        encoder: Name of the encoder.
        start: Initial weights: ``imagenet`` for the encoder's ImageNet weights or a ``.pth`` file of these, ``random``, a file of
            weights of the whole network, or the name of a bundled model. If that model has no hierarchical head, the last layer is
            new, and presence starts as the lesion classes against normal.
    """
    trained = Path(start).suffix == ".safetensors"
    if trained or start in ("imagenet", "random") or Path(start).suffix == ".pth":
        weights = None if trained or start == "random" else start
        model = bcdseg.create(encoder, classes=CLASSES, weights=weights, head="hierarchical", decoder_channels=DECODER, size=160)
        if trained:
            model.network.load_state_dict(load_file(start))
        return model.network  # type: ignore[return-value]
    old: Any = bcdseg.load(start, runtime="torch", device="cpu").network
    if old.config.head == "hierarchical":
        return old  # type: ignore[no-any-return]
    network: Any = bcdseg.create(encoder, classes=CLASSES, head="hierarchical", size=160, device="cpu").network
    for part in ("encoder", "decoder", "mask_head"):
        getattr(network, part).load_state_dict(getattr(old, part).state_dict())
    network.class_head.guided.project.load_state_dict(old.class_head.project.state_dict())
    with torch.no_grad():
        for new, known in zip(network.class_head.guided.linear.parameters(), old.class_head.linear.parameters(), strict=True):
            new.copy_(known)
            new[0] = known[1:].mean(dim=0) - known[0]
    return network  # type: ignore[no-any-return]


def early_layers(encoder: Any) -> list[nn.Module]:
    """Return two early layers of an encoder: its stem and first block, of a VGG the first two poolings."""
    if hasattr(encoder, "model"):  # timm
        return [encoder.model.bn1, encoder.model.blocks[0]]
    if hasattr(encoder, "layer1"):  # ResNet
        return [encoder.bn1, encoder.layer1]
    poolings = [layer for layer in encoder.features if isinstance(layer, nn.MaxPool2d)]
    return poolings[:2] or list(encoder.features[:2])


def train(packed: Packed, chosen: NDArray[np.int64], recipe: Recipe, out: Path, device: torch.device) -> Network:
    """Train a network, or resume its training, and return the averaged network."""
    torch.manual_seed(recipe.seed)
    network: Any = new_network(recipe.encoder, recipe.start).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in early_layers(network.encoder):
        layer.register_forward_hook(MixStyle())
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(_parameter_groups(network, recipe.decay), lr=recipe.lr)
    checkpoint, start = out / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        start = saved["step"]
        network.load_state_dict(saved["network"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
    teachers = [_teacher(source, device) for source in recipe.teachers]
    mask_term, shown, started = DiceCrossEntropy(), dict[str, float](), time.perf_counter()
    network.train()
    for step, batch in Source(packed, chosen, recipe, device)(start):
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout and MixStyle follow from the step alone
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(step)
        parts = losses(network, batch, recipe, mask_term, teachers)
        optimiser.zero_grad(set_to_none=True)
        sum(parts.values()).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        _average(averaged, network, min(recipe.average, (1 + step) / (10 + step)))
        for name, value in parts.items():
            shown[name] = 0.98 * shown.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == recipe.steps:
            pace = (time.perf_counter() - started) / (step + 1 - start)
            print(f"{step + 1}/{recipe.steps} {pace:.2f} s", *(f"{k} {v:.3f}" for k, v in shown.items()), flush=True)
            _save(checkpoint, step + 1, network, averaged, optimiser)
    return averaged.eval()


def _teacher(source: str, device: torch.device) -> Network:
    encoder = notes_of(Path(source)).get("encoder", ENCODER) if Path(source).is_file() else ENCODER
    network: Any = new_network(encoder, source).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


def notes_of(path: Path) -> dict[str, str]:
    """Return what a training has written about its network: the encoder, and whether one softmax decides on the classes."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _parameter_groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    matrices = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for old, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def _save(path: Path, step: int, network: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    states = {"network": network.state_dict(), "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict()}
    content = io.BytesIO()
    torch.save({"step": step, **states}, content)
    write_whole(path, content.getvalue(), overwrite=True)


def choose(packed: Packed, leave_out: str | None, fold: int | None, release: bool) -> NDArray[np.int64]:
    """Return the rows to train on."""
    kept = np.ones(len(packed), bool)
    if leave_out is not None:
        kept &= packed.hospitals != HOSPITALS.index(leave_out)
    if fold is not None:
        kept &= packed.folds != fold
    if release:
        kept &= ~packed.shown
    return np.flatnonzero(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, help="file that pack.py wrote")
    parser.add_argument("run", type=Path, help="the folder of this run")
    parser.add_argument("--leave-out", choices=HOSPITALS, help="a hospital that is not trained on")
    parser.add_argument("--fold", type=int, help="a fold of the groups that is not trained on")
    parser.add_argument("--release", action="store_true", help="leave out the groups of data/sample alone")
    parser.add_argument("--stages", type=int, nargs="+", help="size, steps, size, steps ...")
    parser.add_argument("--lr", type=float, default=Recipe.lr)
    parser.add_argument("--encoder", default=Recipe.encoder)
    parser.add_argument(
        "--start",
        default="imagenet",
        help="'imagenet', 'random', a .safetensors file of a network, a .pth file of an encoder, or a bundled model (whose "
        "training scans count as seen)",
    )
    parser.add_argument("--average", type=float, default=Recipe.average, help="decay of the moving average of the weights")
    parser.add_argument("--constant", action="store_true", help="the learning rate doesn't fall")
    parser.add_argument("--balanced", action="store_true", help="presence is learned within hospitals alone")
    parser.add_argument("--softmax", action="store_true", help="one softmax over the classes, as a control of the head")
    parser.add_argument("--shares", type=float, nargs=len(HOSPITALS), help=f"fractions of the scans from {', '.join(HOSPITALS)}")
    parser.add_argument(
        "--transplants", type=float, default=0.0, help="fraction of the scans that get a lesion or tissue of another"
    )
    parser.add_argument("--teachers", nargs="+", default=[], help="trained networks: bundled models, or files of weights")
    parser.add_argument("--windows", type=float, default=0.0, help="fraction of the scans that are cut to a second pass's window")
    parser.add_argument("--bf16", action="store_true", help="the forward pass in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.softmax and options.teachers:
        parser.error("--teachers teach the hierarchical head alone: leave --softmax out")
    torch.set_num_threads(options.threads)
    stages = Recipe.stages if not options.stages else tuple(zip(options.stages[::2], options.stages[1::2], strict=True))
    recipe = Recipe(
        stages=stages,
        lr=options.lr,
        seed=options.seed,
        encoder=options.encoder,
        start=options.start,
        shares=tuple(options.shares or ()),
        average=options.average,
        transplants=options.transplants,
        constant=options.constant,
        balanced=options.balanced,
        softmax=options.softmax,
        teachers=tuple(options.teachers),
        windows=options.windows,
        bf16=options.bf16,
    )
    packed = Packed.load(options.packed)
    chosen = choose(packed, options.leave_out, options.fold, options.release)
    options.run.mkdir(parents=True, exist_ok=True)
    print(f"{len(chosen)} of {len(packed)} scans, {recipe}", flush=True)
    network = train(packed, chosen, recipe, options.run, torch.device(options.device))
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, options.run / "network.safetensors", {"encoder": recipe.encoder, "softmax": str(recipe.softmax)})


if __name__ == "__main__":
    main()
