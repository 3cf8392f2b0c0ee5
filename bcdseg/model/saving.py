"""Saving of models: weights as safetensors, configuration as JSON and a model card, in a folder or on the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg import __version__
from bcdseg.errors import BcdsegError, ModelNotFoundError, OptionError, OutputExistsError, WeightsUnavailableError
from bcdseg.files import restore, write_folder
from bcdseg.messages import counted, percent
from bcdseg.model.network_source import CONFIG, FORMAT, FORMAT_VERSION, WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

    from bcdseg.model.model import Model

CARD = "README.md"


def save_model(model: Model, folder: Path, *, half: bool, overwrite: bool) -> Path:
    """Save a model to a folder; see ``Model.save``."""
    from bcdseg.networks.network import check_rebuildable

    check_rebuildable(model.network)
    folder = folder.resolve()
    check_place(folder, overwrite=overwrite)
    return write_folder(folder, _contents(model, half))


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Raise an error where no model can be saved to a folder: it contains other files, or a model that may not be replaced."""
    restore(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder}: is a file. A model is saved as a folder: choose another name.")
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if there - {CONFIG, WEIGHTS, CARD}:
        raise OutputExistsError(f"{folder}: contains other files than a model's, and is not replaced. Choose another folder.")
    if there and not overwrite:
        raise OutputExistsError(f"{folder}: exists already. Choose another folder, or allow it: overwrite=True, --overwrite.")


def _contents(model: Model, half: bool) -> dict[str, bytes]:
    from safetensors.torch import save

    state = {key: _stored(value, half) for key, value in model.network.state_dict().items()}
    weights = save(state, metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "network": asdict(model.network.config),
        "preprocessing": asdict(model.preprocessing),
        "rules": asdict(model.rules),
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest(), "stored_as": "float16" if half else "float32"},
        "training": model.training,
    }
    return {WEIGHTS: weights, CONFIG: (json.dumps(config, indent=2) + "\n").encode(), CARD: model.card.encode()}


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not half or not value.is_floating_point():
        return value
    if not value.half().isfinite().all():
        raise OptionError("half=True can't store this model's weights: some are too large for 16 bits. Use half=False.")
    return value.half()


DISCLAIMER = "For research. Not a medical device: not for diagnosis, and not a substitute for a physician's reading."


def write_card(model: Model) -> str:
    """Return the card of a model in Markdown, with the metadata of the Hugging Face Hub."""
    training = model.training
    name = str(training.get("name", "path/to/this/folder"))
    parts = [
        _metadata(training),
        f"# {model.name if not training.get('name') else training['name']}\n",
        f"{training.get('summary', 'A model made with bcdseg.')}\n",
        f"**{DISCLAIMER}**\n",
        _section(
            "How to use it",
            f'```python\nimport bcdseg\n\nmodel = bcdseg.load("{name}")\nmodel.predict("scan.png")\n```',
        ),
        _section("What it is", _table(_facts(model))),
    ]
    titles = (
        "data",
        "method",
        "calibration",
        "site",
        "measured on",
        "figures",
        "risk and coverage",
        "limits",
        "licence",
        "citation",
    )
    for title in titles:
        if content := training.get(title):
            parts.append(_section(title.capitalize(), _render(content)))
    if not training:
        parts.append(_section("Training", "This model was not trained: its predictions mean nothing."))
    return "\n".join(parts)


def _metadata(training: Mapping[str, Any]) -> str:
    lines = [
        "---",
        "library_name: bcdseg",
        "pipeline_tag: image-segmentation",
        "tags: [breast-ultrasound, segmentation, classification]",
    ]
    if licence := training.get("licence_id"):
        lines.append(f"license: {licence}")
    return "\n".join([*lines, "---", ""])


def _facts(model: Model) -> dict[str, str]:
    from bcdseg.inference.rules import described
    from bcdseg.networks.network import parameter_count

    config, path, rules = model.network.config, model.preprocessing, model.rules
    return {
        "encoder": config.encoder,
        "decoder": config.decoder or "none: classification only",
        "classification head": config.head or "none: segmentation only",
        "classes": ", ".join(model.classes) or "none",
        "class that means 'no lesion'": config.no_lesion or "none",
        **({"outline": f"gated by one minus the probability of {config.no_lesion}"} if getattr(config, "gated", False) else {}),
        "parameters": f"{parameter_count(model.network) / 1e6:.2f} million",
        "input": f"{counted(path.channels, 'channel')}, {_size(path)}, mean {_numbers(path.mean)}, std {_numbers(path.std)}",
        **described(rules),
        **({"operating points": "; ".join(map(str, rules.operating_points))} if rules.operating_points else {}),
        **({"label sets": f"conformal, coverage {percent(rules.conformal_coverage)}"} if rules.conformal_coverage else {}),
    }


def _size(path: Any) -> str:
    return "the scan's own size" if path.resize == "none" else f"{path.size[0]}x{path.size[1]} ({path.resize})"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n"


def _render(content: Any) -> str:
    if isinstance(content, Mapping):
        return _table(content)
    if isinstance(content, (list, tuple)):
        return "\n".join(f"- {item}" for item in content)
    return str(content)


def _table(facts: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


FILES = ["config.json", "model.safetensors", "README.md"]
ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def fetch(address: str) -> Path:
    """Return the local folder of ``hf://owner/name`` or ``hf://owner/name@revision``, downloaded if it isn't cached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    match = ADDRESS.fullmatch(address)
    if match is None:
        raise OptionError(f"{address!r} is not of the form hf://owner/name or hf://owner/name@revision.")
    try:
        return Path(snapshot_download(match["repository"], revision=match["revision"], allow_patterns=FILES))
    except HFValidationError as error:
        raise OptionError(f"{address}: {error}") from error
    except RevisionNotFoundError as error:
        raise ModelNotFoundError(
            f"{address}: the model has no revision {match['revision']!r}. Give one of its branches, tags or commits."
        ) from error
    except GatedRepoError as error:  # a subclass of the next one
        raise ModelNotFoundError(
            f"{address}: its owner grants access on request. Request it on the model's page, and log in with 'hf auth login'."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"{address}: the hub has no such model, or it is private; log in with 'hf auth login' if it is yours."
        ) from error
    except Exception as error:  # a missing network connection raises many unrelated classes
        raise WeightsUnavailableError(
            f"{address}: could not be downloaded ({type(error).__name__}). On a machine with a network, download "
            f"{', '.join(FILES)} of huggingface.co/{match['repository']} into one folder, and load that folder."
        ) from error


def push(model: Model, repository: str, *, private: bool, token: str | None) -> str:
    """Upload a model, and return the URL of its page."""
    from huggingface_hub import HfApi

    if not isinstance(repository, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise OptionError(f"repository={repository!r}: give owner/name.")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        saved = model.save(Path(folder) / "model")
        try:
            api.create_repo(repository, private=private, exist_ok=True)  # one that exists stays public or private
            if private and not api.model_info(repository).private:
                raise OptionError(f"private=True: hf://{repository} is public. Make it private on its page, or give another name.")
            api.upload_folder(repo_id=repository, folder_path=saved, commit_message=f"Upload {model.name}")
        except BcdsegError:
            raise
        except Exception as error:  # as above
            reason = " ".join(str(error).split())
            raise WeightsUnavailableError(
                f"hf://{repository}: the upload failed ({type(error).__name__}: {reason}). It requires a network, and a token with "
                "the right to write there: token=..., or 'hf auth login'."
            ) from error
    return f"{api.endpoint}/{repository}"
