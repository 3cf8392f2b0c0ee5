"""Robustness to corruptions of the scans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.labels import match_spellings
from bcdseg.evaluation.case_results import Change, check_measurable, check_model, results_table
from bcdseg.evaluation.corruptions import CORRUPTIONS, corrupt
from bcdseg.evaluation.measures.catalogue import all_measures
from bcdseg.evaluation.measures.intervals import DRAWS, compare, estimate
from bcdseg.evaluation.results import tracked
from bcdseg.evaluation.results_table import Cases
from bcdseg.messages import check_choice, check_whole

if TYPE_CHECKING:
    from bcdseg.evaluation.measures.measure import Estimate, Measure
    from bcdseg.model.model import Model
    from bcdseg.types import Mask, Pixels, Sample

WATCHED = ("dice", "lesion_sensitivity", "false_lesion_rate", "accuracy", "balanced_accuracy", "roc_auc/{positive}", "ece")


@dataclass(frozen=True, kw_only=True)
class CorruptionLevel:
    """The results at one strength of one corruption.

    Attributes:
        degradation: One of ``corruptions.CORRUPTIONS``.
        strength: Strength in the unit that the corruption documents.
        estimates: Estimate of each measure.
        changes: Difference from the original scans for each measure, with paired intervals.
    """

    degradation: str
    strength: float
    estimates: Mapping[str, Estimate]
    changes: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The results on original and on corrupted scans.

    Attributes:
        measures: Measures that were computed.
        untouched: Estimates on the original scans.
        steps: Results on corrupted scans, corruption by corruption, from mild to strong.
    """

    measures: tuple[Measure, ...]
    untouched: Mapping[str, Estimate]
    steps: tuple[CorruptionLevel, ...]

    def of(self, degradation: str) -> tuple[CorruptionLevel, ...]:
        """Return the results of one corruption, from mild to strong."""
        return tuple(step for step in self.steps if step.degradation == degradation)

    @property
    def degradations(self) -> tuple[str, ...]:
        """Names of the corruptions."""
        return tuple(dict.fromkeys(step.degradation for step in self.steps))

    def __repr__(self) -> str:
        from bcdseg.evaluation.measures.measure import shown

        lines = ["<Robustness"]
        for measure in self.measures:
            lines.append(f"  {measure.title}: {shown(self.untouched[measure.name], measure.unit)} on the original scans")
            for step in self.steps:
                lines.append(f"    {step.degradation} {step.strength:g}: {shown(step.estimates[measure.name], measure.unit)}")
        return "\n".join(lines) + ">"


def measure_robustness(
    model: Model,
    test: Dataset,
    *,
    degradations: str | Sequence[str] = tuple(CORRUPTIONS),
    untouched: Cases | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    progress: bool = True,
    threshold: float | None = None,
    batch_size: int | None = None,
) -> Robustness:
    """Measure a model on corrupted scans; the same seed corrupts each scan in the same way.

    Args:
        model: Model to evaluate.
        test: Test scans.
        degradations: One or several of ``CORRUPTIONS``.
        untouched: Results table of the original scans, where it exists already.
        draws: Number of bootstrap draws; 0 computes no intervals.
        seed: Seed of the corruptions and the bootstrap.
        progress: Whether to show progress on a terminal.
        threshold: Mask probability from which a pixel belongs to the lesion; by default the model's own.
        batch_size: Number of scans per batch of the network.
    """
    check_model(model)
    check_data(test)
    check_whole(draws=draws, seed=seed)
    chosen = [degradations] if isinstance(degradations, str) else list(degradations)
    for name in chosen:
        check_choice("degradations", name, tuple(CORRUPTIONS))
    test = match_spellings(test, model.classes, model.name)
    check_measurable(model.name, model.classes, test, has_masks=model.config.decoder is not None)
    plan = [(name, strength) for name in chosen for strength in CORRUPTIONS[name].strengths]
    work = _work(model, test, plan, untouched, seed, {"threshold": threshold, "batch_size": batch_size})
    tables = list(tracked(work, "Corrupting scans", len(plan) + 1, progress))
    names = [name.format(positive=tables[0].positive) for name in WATCHED]
    measures = tuple(measure for measure in all_measures(tables[0]) if measure.name in names)
    steps = []
    for (name, strength), table in zip(plan, tables[1:], strict=True):
        found = estimate(table, measures, draws=draws, seed=seed)
        apart = compare(tables[0], table, measures, draws=draws, seed=seed, same_truth=False)
        changes = {measure: one.difference for measure, one in apart.items()}
        steps.append(CorruptionLevel(degradation=name, strength=strength, estimates=found, changes=changes))
    untouched_found = estimate(tables[0], measures, draws=draws, seed=seed)
    return Robustness(measures=measures, untouched=untouched_found, steps=tuple(steps))


def _work(
    model: Model,
    test: Dataset,
    plan: Sequence[tuple[str, float]],
    untouched: Cases | None,
    seed: int,
    options: dict[str, Any],
) -> Iterator[Cases]:
    """Yield the results table of the original scans, then one for each planned corruption and strength."""
    yield untouched if untouched is not None else results_table(model, test, **options)
    for name, strength in plan:
        yield results_table(model, test, change=_change(name, strength, seed), **options)


def _change(name: str, strength: float, seed: int) -> Change:
    def change(sample: Sample, pixels: Pixels, mask: Mask | None) -> tuple[Pixels, Mask | None]:
        return corrupt(pixels, mask, name, strength, seed=(seed, crc32(sample.id.encode("utf-8", "surrogateescape"))))

    return change
