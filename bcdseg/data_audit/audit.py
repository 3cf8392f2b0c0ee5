"""Audit of a data set before training.

``audit`` searches for duplicate scans, for labels and masks that contradict each other, for annotations burned into the images,
and for file properties that predict the class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.data.duplicates.search import SURE, DuplicatePair, Progress, find_duplicates
from bcdseg.data_audit.findings import Finding
from bcdseg.errors import OptionError
from bcdseg.table_text import html_table
from bcdseg.types import Sample, ScanImage

if TYPE_CHECKING:
    from bcdseg.data_audit.findings import Facts

__all__ = ["Audit", "DuplicatePair", "Finding", "audit"]

LARGE_GROUP, LEAST_SCANS = 0.5, 20  # fraction of a data set that is unlikely to be one scan, in data sets from this size on


@dataclass(frozen=True, repr=False)
class Audit:
    """The result of an audit.

    Attributes:
        name: Name of the data set.
        samples: Samples that were checked.
        pairs: Near-duplicates with their score and evidence, best first.
        duplicate_groups: Groups of two or more ids that are nearly the same scan.
        findings: All other findings, sorted by kind.
    """

    name: str
    samples: tuple[Sample, ...]
    pairs: tuple[DuplicatePair, ...]
    duplicate_groups: tuple[tuple[str, ...], ...]
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        findings = ", ".join(f"{kind} {count}" for kind, count in self.counts().items()) or "none"
        return f"<Audit of {self.name}: {len(self.samples)} scans; {self._duplicates}; findings: {findings}>"

    def _repr_html_(self) -> str:
        rows = [("near-duplicates", self._duplicates), *self.counts().items()]
        return html_table(f"Audit of {self.name}: {len(self.samples)} scans", rows)

    @property
    def _duplicates(self) -> str:
        copies = sum(len(group) for group in self.duplicate_groups)
        return f"{copies} near-duplicates in {len(self.duplicate_groups)} groups"

    @cached_property
    def conflicts(self) -> tuple[tuple[str, ...], ...]:
        """Duplicate groups whose labels disagree."""
        return _conflicts(self.samples, self.duplicate_groups)

    @cached_property
    def groups(self) -> dict[str, str]:
        """The name of its duplicate group for each scan that is in one."""
        width = len(str(len(self.duplicate_groups)))
        return {name: f"duplicates-{number:0{width}}" for number, group in enumerate(self.duplicate_groups, 1) for name in group}

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each kind."""
        return dict(Counter(finding.kind for finding in self.findings))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write ``audit.json``, ``audit.csv`` and ``index.html``, a page with pictures, into a folder.

        Raises:
            OutputExistsError: One of these files exists already and ``overwrite`` is not set.
        """
        from bcdseg.data_audit.page import save

        return save(self, Path(folder), overwrite)


def audit(
    dataset: Iterable[Sample],
    *,
    predictions: Mapping[str, Mapping[str, float]] | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """Check a data set for duplicates, contradictions, burned-in annotations and shortcuts.

    Args:
        dataset: Data set, or any samples with different ids.
        predictions: Probability of each class for each sample id, from a cross-validation in which the model was not trained
            on the sample (out-of-fold). With them, labels that the model confidently contradicts are found.
        cache: Whether to store the near-duplicates in the user's cache folder and load them from there next time.
        progress: Function that is called with the current step, the number of finished items and their total.

    Raises:
        ImageError: An image or a mask can't be read.
        InputError: The predictions don't fit the data set.
        OptionError: ``dataset`` is a path, contains no samples or something else, or two samples have one id.
    """
    from bcdseg.data_audit.findings import label_noise, shortcuts

    if isinstance(dataset, (str, PathLike)):
        raise OptionError(f"{dataset!r} is not a data set. Open one with bcdseg.open_dataset.")
    samples = tuple(dataset)
    _check_samples(samples)
    checked: dict[str, tuple[Facts, list[Finding]]] = {}

    def check(sample: Sample, scan: ScanImage) -> None:
        checked[sample.id] = _check_one(sample, scan)

    findings: list[Finding] = [] if predictions is None else list(label_noise(samples, predictions))
    found = find_duplicates(samples, cache=cache, progress=progress, visit=check)
    findings += _large_groups(len(samples), found.groups)
    for group in _conflicts(samples, found.groups):
        findings.append(_label_conflict(samples, group))
    findings += _mask_conflicts(samples, found.pairs)
    findings += shortcuts([sample.label for sample in samples], [checked[sample.id][0] for sample in samples])
    findings += [finding for sample in samples for finding in checked[sample.id][1]]
    order = list(dict.fromkeys(finding.kind for finding in findings))
    findings.sort(key=lambda finding: order.index(finding.kind))
    name = getattr(dataset, "name", "data set")
    return Audit(str(name), samples, found.pairs, found.groups, tuple(findings))


def _check_samples(samples: Sequence[object]) -> None:
    ids = set[str]()
    for one in samples:
        if not isinstance(one, Sample):
            raise OptionError(f"dataset: contains {type(one).__name__}, not samples. bcdseg.combine joins data sets.")
        if one.id in ids:
            raise OptionError(f"dataset: {one.id!r} is the id of two samples. Give samples with different ids.")
        ids.add(one.id)
    if not ids:
        raise OptionError("dataset: contains no scans. Choose other scans.")


def _conflicts(samples: Sequence[Sample], groups: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    label = {sample.id: sample.label for sample in samples}
    return tuple(group for group in groups if len({label[name] for name in group} - {None}) > 1)


def _large_groups(scans: int, groups: Iterable[tuple[str, ...]]) -> Iterator[Finding]:
    for group in groups:
        if scans >= LEAST_SCANS and len(group) > LARGE_GROUP * scans:
            yield Finding(
                "large group",
                (),
                f"{len(group)} of {scans} scans are one group of near-duplicates. Check some pairs: images without the texture of "
                "ultrasound, such as mammograms, can look alike to the search. State the copies with split(duplicates=) then.",
            )


def _label_conflict(samples: Sequence[Sample], group: tuple[str, ...]) -> Finding:
    labels = sorted({str(sample.label) for sample in samples if sample.id in group and sample.label is not None})
    return Finding("label conflict", group, f"Nearly the same scan {len(group)} times, labelled {' and '.join(labels)}.")


def _mask_conflicts(samples: Sequence[Sample], pairs: Iterable[DuplicatePair]) -> Iterator[Finding]:
    from bcdseg.data_audit.findings import mask_conflict, mask_of

    by_id = {sample.id: sample for sample in samples}
    for pair in pairs:
        one, other = by_id[pair.one], by_id[pair.other]
        if pair.score < SURE or not one.masks or not other.masks:
            continue
        conflict = mask_conflict(pair, mask_of(one), mask_of(other))
        if conflict is not None:
            yield conflict


def _check_one(sample: Sample, scan: ScanImage) -> tuple[Facts, list[Finding]]:
    """Return the file properties and the findings of a scan alone."""
    from bcdseg.data.masks import read_mask
    from bcdseg.data_audit.burned_in_annotations import mark_findings
    from bcdseg.data_audit.findings import facts, mask_findings

    size = scan.pixels.shape[0], scan.pixels.shape[1]
    of_mask = mask_findings(sample, read_mask(sample.masks, size, resize=True)) if sample.masks else ()
    return facts(scan.pixels, sample.image.suffix), [*of_mask, *mark_findings(sample.id, scan.pixels)]
