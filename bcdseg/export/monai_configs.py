"""Configuration files of a MONAI bundle."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from bcdseg import __version__
from bcdseg.export.pipeline import Subject

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
USE = "Research on breast ultrasound. Not a medical device: not for diagnosis."
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
MODES = {1: "L", 3: "RGB"}
NETWORK = "models/model.ts"
MASK, CANDIDATE, CLASSES = "mask", "candidate", "probabilities"
IMPORTS = (
    *("import math", "import pathlib", "import torch", "from PIL import ImageOps"),
    *("from monai.data import MetaTensor", "from monai.transforms import RemoveSmallObjects"),
)


def metadata(subject: Subject) -> dict[str, Any]:
    """Return the content of ``configs/metadata.json``."""
    classes = subject.network.config.classes
    channels = subject.preprocessing.channels
    image = {**_tensor("magnitude", channels, 255), "modality": "US", "channel_def": {str(n): "image" for n in range(channels)}}
    outputs: dict[str, Any] = {}
    if subject.network.config.decoder:
        outputs[MASK] = {**_tensor("probabilities", 1, 1), "channel_def": {"0": "lesion"}}
    if subject.network.config.head:
        named = {str(number): name for number, name in enumerate(classes)}
        outputs[CLASSES] = {
            **_tensor("probabilities", len(classes), 1),
            "type": "probabilities",
            "spatial_shape": [],
            "channel_def": named,
        }
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"written by bcdseg {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "pytorch-ignite": "0.5",
            "fire": "0.6",
            "pillow": version("pillow"),
            "scikit-image": version("scikit-image"),
        },
        "name": subject.name,
        "task": "Outline and class of breast lesions in ultrasound" if classes else "Outline of breast lesions in ultrasound",
        "description": f"The model {subject.name} of bcdseg, from scan to mask and probabilities. Docs: docs/README.md.",
        "authors": "See docs/README.md.",
        "copyright": "See docs/README.md.",
        "intended_use": USE,
        "network_data_format": {"inputs": {"image": image}, "outputs": outputs},
    }


def inference(subject: Subject) -> dict[str, Any]:
    """Return the content of ``configs/inference.json``."""
    return {
        "imports": [f"${line}" for line in IMPORTS],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/scans'",
        "output_dir": "$@bundle_root + '/predictions'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "pictures": list(PICTURES),
        "datalist": (
            "$[{'image': str(path)} for path in sorted(pathlib.Path(@dataset_dir).rglob('*'))"
            " if path.suffix.lower() in @pictures and not path.stem.endswith('_mask')]"
        ),
        "network_def": f"$torch.jit.load(@bundle_root + '/{NETWORK}', map_location=@device).eval()",
        "preprocessing": {"_target_": "Compose", "transforms": _before(MODES[subject.preprocessing.channels])},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": _after(subject)},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network_def",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$@evaluator.run()"],
    }


def _before(mode: str) -> list[dict[str, Any]]:
    converter = f"$lambda image: ImageOps.exif_transpose(image).convert('{mode}')"
    return [
        {"_target_": "LoadImaged", "keys": "image", "reader": "PILReader", "converter": converter, "ensure_channel_first": True},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
    ]


def _after(subject: Subject) -> list[dict[str, Any]]:
    """Return the transforms from outputs to files: masks of 0 and 255, and a table of file names and class probabilities."""
    masks, classes = bool(subject.network.config.decoder), bool(subject.network.config.head)
    sub_keys = [*([MASK] if masks else []), *([CLASSES] if classes else [])]
    named = f"'{MASK}': MetaTensor(data['{MASK}'], meta=data['image'].meta), " if masks else ""
    steps: list[dict[str, Any]] = [
        {"_target_": "FlattenSubKeysd", "keys": "pred", "sub_keys": sub_keys},
        {"_target_": "Lambda", "func": f"$lambda data: {{**data, {named}'image_meta_dict': data['image'].meta}}"},
    ]
    if masks:
        steps += [
            {"_target_": "AsDiscreted", "keys": MASK, "threshold": subject.rules.threshold},
            {"_target_": "Lambdad", "keys": MASK, "func": _without_small_components(subject.rules.min_lesion_share)},
            *([_apart(subject)] if has_candidates(subject) else []),
            *(_saved(name) for name in (MASK, *([CANDIDATE] if has_candidates(subject) else []))),
        ]
    if classes:
        steps.append(
            {
                "_target_": "SaveClassificationd",
                "keys": CLASSES,
                "meta_keys": "image_meta_dict",
                "output_dir": "@output_dir",
                "filename": "classes.csv",
            }
        )
    return steps


def has_candidates(subject: Subject) -> bool:
    """Return whether outlines below a presence threshold are candidates."""
    config = subject.network.config
    return bool(config.decoder and config.no_lesion is not None and subject.rules.presence_threshold is not None)


def _apart(subject: Subject) -> dict[str, Any]:
    """Return the transform that splits the mask into findings and candidates; one of them is empty."""
    config = subject.network.config
    negative = config.classes.index(str(config.no_lesion))
    found = f"(1 - data['{CLASSES}'][{negative}] >= {subject.rules.presence_threshold})"
    parts = f"'{MASK}': data['{MASK}'] * {found}, '{CANDIDATE}': data['{MASK}'] * ~{found}"
    return {"_target_": "Lambda", "func": f"$lambda data: {{**data, {parts}}}"}


def _saved(name: str) -> dict[str, Any]:
    return {
        "_target_": "SaveImaged",
        "keys": name,
        "output_dir": "@output_dir",
        "output_ext": ".png",
        "output_postfix": name,
        "output_dtype": "$'uint8'",
        "scale": 255,
        "resample": False,
        "separate_folder": False,
        "data_root_dir": "@dataset_dir",
        "print_log": False,
    }


def _without_small_components(share: float) -> str:
    return f"$lambda mask: RemoveSmallObjects(min_size=max(1, math.ceil({share} * mask.numel())), connectivity=2)(mask)"


def _tensor(form: str, channels: int, largest: float) -> dict[str, Any]:
    return {
        "type": "image",
        "format": form,
        "num_channels": channels,
        "spatial_shape": ["*", "*"],
        "dtype": "float32",
        "value_range": [0, largest],
        "is_patch_data": False,
    }
