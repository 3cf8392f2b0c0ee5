"""The model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bcdseg.model.model import Model

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
    for title in ("data", "method", "calibration", "site", "measured on", "figures", "limits", "licence", "citation"):
        if content := training.get(title):
            parts.append(_section(title.capitalize(), _render(content)))
    if not training:
        parts.append(_section("Training", "This model was not trained: its answers mean nothing."))
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
    from bcdseg.networks.ensemble import parameter_count

    config, path, rules = model.network.config, model.preprocessing, model.rules
    return {
        "encoder": config.encoder,
        "decoder": config.decoder or "none: classification only",
        "classification head": config.head or "none: segmentation only",
        "classes": ", ".join(model.classes) or "none",
        "class that means 'no lesion'": config.no_lesion or "none",
        **({"outline": f"gated by one minus the probability of {config.no_lesion}"} if getattr(config, "gated", False) else {}),
        "parameters": f"{parameter_count(model.network) / 1e6:.2f} million",
        "input": f"{path.channels} channel(s), {_size(path)}, mean {_numbers(path.mean)}, std {_numbers(path.std)}",
        "mask threshold": f"{rules.threshold:g}",
        "smallest lesion": f"{rules.min_lesion_share:.2%} of the scan's area",
        "confidence threshold": f"{rules.min_confidence:g}",
        "temperature": f"{rules.temperature:.3g}",
        **({"operating points": "; ".join(map(str, rules.operating_points))} if rules.operating_points else {}),
        **({"label sets": f"conformal, coverage {rules.conformal_coverage:.0%}"} if rules.conformal_coverage else {}),
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
