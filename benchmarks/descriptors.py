"""Frequency of each suggested BI-RADS descriptor, by class, for the outlines of data sets.

    python benchmarks/descriptors.py data/sample PATH/TO/BUS-BRA [--fact birads] [--model bus-multi]

The outlines are the masks of the data sets. With ``--fact`` the classes are the values of a fact of the scans. With ``--model`` the
suggestions from the masks are compared with those from the outlines of a model, in scans where both outline one lesion.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bcdseg
from bcdseg.inference.lesions import find_lesions
from bcdseg.types import Area

WORDS = {
    "shape": ("oval", "round", "irregular"),
    "orientation": ("parallel", "not parallel"),
    "margin": ("circumscribed", "indistinct", "not circumscribed"),
    "echo_pattern": ("anechoic", "hypoechoic", "isoechoic", "hyperechoic", "heterogeneous", "complex cystic and solid"),
    "posterior": ("no posterior features", "enhancement", "shadowing", "combined pattern"),
}
TITLES = {"echo_pattern": "echo pattern", "posterior": "posterior features"}
NUMBERS = ("abrupt_edge", "echo_ratio", "echo_variation", "echo_free", "posterior_ratio")
SMALLEST = 0.001  # of the scan; smaller components of a mask are ignored


class Case(NamedTuple):
    """A lesion, and the class of its scan."""

    label: str
    lesion: bcdseg.Lesion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="data sets with masks that bcdseg.open_dataset opens")
    parser.add_argument("--fact", help="count by this fact of the scans instead of their class")
    parser.add_argument("--model", help="compare with the outlines of this model")
    options = parser.parse_args()
    for path in options.data:
        data = bcdseg.open_dataset(path, on_problem="skip").filter(lambda sample: sample.masks)
        print(f"\n## {path.name}\n")
        if options.model:
            print(agreement(data, bcdseg.load(options.model)))
            continue
        cases = list(measured(data, options.fact))
        print(counts(cases))
        print(quantiles(cases))


def measured(data: bcdseg.Dataset, fact: str | None) -> Iterator[Case]:
    """Yield the lesions of all masks, with their class or a fact of their scan."""
    for sample in data:
        label = sample.label if fact is None else sample.facts.get(fact)
        pixels, mask = data.read(sample)
        if mask is None or label is None or not mask.any():
            continue
        for lesion in _lesions(pixels, mask, sample.spacing):
            yield Case(str(label), lesion)


def _lesions(pixels: np.ndarray, mask: np.ndarray, spacing: tuple[float, float] | None) -> Sequence[bcdseg.Lesion]:
    area = Area(box=(0, 0, *mask.shape), spacing=spacing)
    return find_lesions(mask, mask.astype(np.float32), min_share=SMALLEST, spacing=spacing, pixels=pixels, area=area)[1]


def counts(cases: list[Case]) -> str:
    """Return a table of how often each word is suggested, as a share of the lesions of a class."""
    labels = sorted({case.label for case in cases})
    groups = {label: [case.lesion.descriptors for case in cases if case.label == label] for label in labels}
    lines = ["| descriptor | suggestion | " + " | ".join(f"{name} ({len(group)})" for name, group in groups.items()) + " |"]
    lines.append("|---" * (len(labels) + 2) + "|")
    for name, words in WORDS.items():
        for word in (*words, None):
            shares = [np.mean([getattr(one, name) == word for one in group]) for group in groups.values()]
            if word is not None or any(shares):
                title = TITLES.get(name, name) if word == words[0] else ""
                lines.append(f"| {title} | {word or 'none'} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    return "\n".join(lines) + "\n"


def quantiles(cases: list[Case]) -> str:
    """Return a table of the numbers from which the words follow: median and quartiles."""
    labels = sorted({case.label for case in cases})
    lines = ["| number | " + " | ".join(labels) + " |", "|---" * (len(labels) + 1) + "|"]
    for name in NUMBERS:
        cells = []
        for label in labels:
            values = [getattr(case.lesion.appearance, name, None) for case in cases if case.label == label]
            known = [value for value in values if value is not None]
            low, middle, high = np.quantile(known, (0.25, 0.5, 0.75)) if known else (np.nan,) * 3
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})" if known else "-")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def agreement(data: bcdseg.Dataset, model: bcdseg.Model) -> str:
    """Return a table of how often the outline of a model gives the same suggestion as the mask."""
    same: dict[str, list[bool]] = {name: [] for name in WORDS}
    pairs = 0
    for sample in data:
        pixels, mask = data.read(sample)
        assert mask is not None
        drawn, found = _lesions(pixels, mask, sample.spacing), model.predict(pixels, spacing=sample.spacing).lesions
        if len(drawn) != 1 or len(found) != 1:
            continue
        pairs += 1
        for name in WORDS:
            words = getattr(drawn[0].descriptors, name), getattr(found[0].descriptors, name)
            if None not in words:
                same[name].append(words[0] == words[1])
    lines = [f"{pairs} of {len(data)} scans.\n", "| descriptor | both have a suggestion | the same |", "|---|---|---|"]
    for name, each in same.items():
        lines.append(f"| {TITLES.get(name, name)} | {len(each)} | {np.mean(each):.0%} |" if each else f"| {name} | 0 | - |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
