"""Export as a MONAI bundle."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bcdseg.errors import OptionError
from bcdseg.export.monai_configs import CLASSES, MASK, NETWORK, PICTURES, USE, has_candidates, inference, metadata
from bcdseg.export.pipeline import Pipeline, Subject
from bcdseg.messages import percent

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same model gives the same file
README = """# {name}

{use}

A MONAI bundle, written by bcdseg. It needs MONAI, PyTorch, pytorch-ignite, fire, Pillow and scikit-image, and not bcdseg:

    pip install 'monai[fire,ignite,pillow,skimage]'
    python -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir SCANS --output_dir PREDICTIONS

SCANS is a folder of pictures ({pictures}; `*_mask` is left out), of 8 bits.
{written}

`models/model.ts` is the whole pipeline as TorchScript: resizing, normalisation, network, temperature, softmax. It takes what
MONAI's `LoadImage` reads with Pillow, batch x {channels} x width x height, float, 0 to 255, any size, and gives a dictionary:

{outputs}

`configs/inference.json` takes the threshold and drops outlined spots below {share} of the scan, as bcdseg does.

Not in it, though in bcdseg: DICOM with its scan regions and millimetres, pictures of 16 bits, transparency, measures of lesions,
flags.

## Model card

{card}
"""


class _AsMonai(nn.Module):
    """Pipeline for MONAI's order of axes: channel, width, height."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.pipeline = Pipeline(subject, "fp32").eval()
        self.outputs = subject.outputs
        self.colour = subject.preprocessing.channels == 3

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return mask probability and class probabilities by name."""
        upright = image.mT
        found = dict(zip(self.outputs, self.pipeline(upright.movedim(1, -1) if self.colour else upright[:, 0]), strict=True))
        named: dict[str, Tensor] = {}
        if "mask_probability" in found:
            named[MASK] = found["mask_probability"].mT.unsqueeze(1)
        if "probabilities" in found:
            named[CLASSES] = found["probabilities"]
        return named


def make_bundle(subject: Subject, _: str, __: Sequence[Any]) -> dict[str, bytes]:
    """Convert a model to a zip archive with the bundle in a folder of the model's name."""
    if subject.preprocessing.resize == "none":
        raise OptionError(
            f"{subject.name}: resizes by 'none', and a MONAI bundle takes scans of any size. Take another format, or train with "
            "resize='stretch' or 'fit'."
        )
    files = {
        "configs/metadata.json": _json(metadata(subject)),
        "configs/inference.json": _json(inference(subject)),
        NETWORK: _scripted(subject),
        "models/bcdseg.json": _json(subject.facts("fp32")),
        "docs/README.md": _readme(subject).encode(),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, one in files.items():
            packed.writestr(zipfile.ZipInfo(f"{Path(subject.name).name}/{name}", LONG_AGO), one, zipfile.ZIP_DEFLATED)
    return {".zip": content.getvalue()}


def open_bundle(path: Path, subject: Subject) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """Load the network of a bundle as a function from scans to outputs by name."""
    with zipfile.ZipFile(path) as packed, _as_it_is():
        (name,) = (name for name in packed.namelist() if name.endswith(NETWORK))
        network = torch.jit.load(io.BytesIO(packed.read(name)))  # type: ignore[no-untyped-call]

    def run(scans: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        image = torch.tensor(scans).float()
        image = image.movedim(-1, 1) if subject.preprocessing.channels == 3 else image[:, None]
        with torch.inference_mode():
            found = network(image.mT)
        outputs: dict[str, NDArray[Any]] = {}
        if MASK in found:
            outputs["mask_probability"] = np.asarray(found[MASK][:, 0].mT)
            outputs["mask"] = outputs["mask_probability"] >= np.float32(subject.rules.threshold)
        if CLASSES in found:
            outputs["probabilities"] = np.asarray(found[CLASSES])
        return outputs

    return run


def _scripted(subject: Subject) -> bytes:
    content = io.BytesIO()
    path = subject.preprocessing
    example = torch.randint(0, 256, (2, path.channels, 3 * path.stride, 4 * path.stride)).float()
    pipeline = _AsMonai(subject).eval()
    with torch.no_grad(), _as_it_is():
        traced = torch.jit.trace(pipeline, example, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, content)
    return content.getvalue()


@contextmanager
def _as_it_is() -> Iterator[None]:
    """Hide warnings: MONAI needs the deprecated TorchScript, and the agreement check covers the tracer's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _readme(subject: Subject) -> str:
    classes = subject.network.config.classes
    written, outputs, threshold = [], [], subject.rules.presence_threshold
    if subject.network.config.decoder:
        written.append("Masks are written as PNG (0 and 255), of the scans' size, under the scans' names with `_mask`.")
        if threshold is not None and has_candidates(subject):
            written.append(
                f"Where the probability of a lesion is below {percent(threshold, 1)}, the outline is a candidate, not a finding. "
                "It is in the file with `_candidate`, and `_mask` is empty."
            )
        outputs.append(f"- `{MASK}`, the probability of 'lesion' for each pixel (batch x 1 x width x height)")
    if subject.network.config.head:
        written.append(f"`classes.csv` has a line for each: file, then the probabilities of {', '.join(classes)}.")
        outputs.append(f"- `{CLASSES}`, those of {', '.join(classes)} (batch x {len(classes)})")
    return README.format(
        name=subject.name,
        use=USE,
        pictures=", ".join(PICTURES),
        written="\n".join(written),
        channels=subject.preprocessing.channels,
        outputs="\n".join(outputs),
        share=percent(subject.rules.min_lesion_share, 2),
        card=subject.card,
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
