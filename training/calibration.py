"""Temperature and confidence threshold, fitted to the results of networks on test parts: more scans than one validation part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scans import Scans

from bcdseg import Model
from bcdseg.evaluation.calibrate import fit_rules, with_rules
from bcdseg.evaluation.case_results import results_table
from bcdseg.evaluation.results_table import Cases

Results = Mapping[int, Cases]


def results_on_test_parts(scans: Scans, models: Mapping[int, Model]) -> Results:
    """Return the class results of the network of each fold on its test part."""
    return {fold: results_table(model, scans.fold(fold)[2], with_masks=False) for fold, model in models.items()}


def calibrated_by_other_folds(scans: Scans, models: Mapping[int, Model]) -> dict[int, Model]:
    """Return each fold's network with rules fitted to the results of all other folds; a single network is returned unchanged."""
    results = results_on_test_parts(scans, models)
    others = {fold: [results[other] for other in models if other != fold] for fold in models}
    return {fold: calibrated(model, others[fold]) if others[fold] else model for fold, model in models.items()}


def calibrated(model: Model, results: Sequence[Cases]) -> Model:
    """Return a copy with rules fitted to the results of networks that were trained in the same way."""
    logits = np.concatenate([one.logits for one in results])
    labels = np.concatenate([one.labels for one in results])
    return with_rules(model, **fit_rules(logits, labels))
