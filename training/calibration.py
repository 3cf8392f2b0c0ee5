"""Temperature and confidence threshold, from what networks say of scans that they are blind to: of more scans than a tenth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scans import Scans

from bcdseg import Model
from bcdseg.evaluation.calibrate import class_results, fit_rules, with_rules
from bcdseg.evaluation.results_table import Cases

Answers = Mapping[int, Cases]


def blind_answers(scans: Scans, models: Mapping[int, Model]) -> Answers:
    """What the network of each fold says of its test part."""
    return {fold: class_results(model, scans.fold(fold)[2]) for fold, model in models.items()}


def calibrated_by_others(scans: Scans, models: Mapping[int, Model]) -> dict[int, Model]:
    """Each fold's network, with the rules that the answers in all other folds ask for; a single one stays as it is."""
    answers = blind_answers(scans, models)
    others = {fold: [answers[other] for other in models if other != fold] for fold in models}
    return {fold: calibrated(model, others[fold]) if others[fold] else model for fold, model in models.items()}


def calibrated(model: Model, answers: Sequence[Cases]) -> Model:
    """A copy with the rules that these answers, of networks made in the same way, ask for."""
    logits = np.concatenate([one.logits for one in answers])
    labels = np.concatenate([one.labels for one in answers])
    return with_rules(model, **fit_rules(logits, labels))
