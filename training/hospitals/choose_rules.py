"""Choose calibration and thresholds on scans that the networks were not trained on: whole hospitals, and other patients.

    python training/hospitals/choose_rules.py PACKED.npz RUNS --intervals

``RUNS`` contains ``release`` and the folders ``loho-HOSPITAL`` of networks that were trained without that hospital, each with the
outputs of ``predict.py``; missing ones are skipped. When a hospital is measured, the rules are fitted without any scan of it.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from figures import MISSED, Cases, Rules, cases, false_lesions, lesion_dice, missed, table
from numpy.typing import NDArray
from pack import HOSPITALS, Packed
from predict import Outputs, file_of
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

SIZE = 160
HIDDEN = 0.015  # fraction of left-out lesions, among those that are outlined, which the presence threshold may hide
MASK_THRESHOLD = 0.4
THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)  # of presence, of which the trade-off is printed
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Unseen:
    """Outputs of one network on scans of one hospital that it was not trained on.

    Attributes:
        hospital: Its name.
        run: Name of the network's run.
        left_out: Whether the whole hospital was left out, or only these patients.
        outputs: On these scans.
    """

    hospital: str
    run: str
    left_out: bool
    outputs: Outputs

    @property
    def name(self) -> str:
        """Title of the column in a table."""
        how = "left out" if self.left_out else "other patients"
        return f"{self.hospital}, {how}" + ("" if self.left_out or self.run == "release" else f" ({self.run})")


def read(packed: Packed, runs: Path, size: int = SIZE) -> list[Unseen]:
    """Read the existing outputs, by hospital."""
    found = []
    for run in ("release", *(f"loho-{name}" for name in HOSPITALS)):
        path = file_of(runs / run, size, mirrored=False)
        if not path.exists():
            continue
        every = Outputs.load(path)
        for number, hospital in enumerate(HOSPITALS):
            chosen = packed.hospitals[every.rows] == number
            if chosen.any():
                found.append(Unseen(hospital, run, run == f"loho-{hospital}", every.select(chosen)))
    return found


def fit(packed: Packed, sets: list[Unseen]) -> Rules:
    """Fit the calibration of both decisions, with the same weight for each set of scans, and the presence threshold."""
    rules = Rules(mask_threshold=MASK_THRESHOLD)
    labels = [packed.labels[one.outputs.rows] for one in sets]
    raw = [one.outputs.decisions.astype(np.float64) for one in sets]
    both = [at for at in range(len(sets)) if (labels[at] == 0).any()]
    if both:
        scale, bias = _logistic([raw[at][:, :2].mean(axis=1) for at in both], [labels[at] > 0 for at in both])
        rules = replace(rules, evidence=scale / 2, context=scale / 2, bias=bias)
    lesion = [each > 0 for each in labels]
    scale, shift = _logistic([r[some, 2] for r, some in zip(raw, lesion, strict=True)], [x[x > 0] == 2 for x in labels])
    rules = replace(rules, scale=scale, shift=shift)
    return replace(rules, presence_threshold=_presence_threshold(packed, [one for one in sets if one.left_out] or sets, rules))


def _logistic(scores: list[Numbers], truths: list[NDArray[np.bool_]]) -> tuple[float, float]:
    """Return scale and shift of a score; every list has the same weight."""
    weights = np.concatenate([np.full(len(some), 1 / len(some)) for some in scores]) * 1000
    fitted = LogisticRegression(C=10.0).fit(np.concatenate(scores)[:, None], np.concatenate(truths), weights)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _presence_threshold(packed: Packed, sets: list[Unseen], rules: Rules) -> float:
    """Return the highest threshold that hides at most ``HIDDEN`` of the outlined lesions."""
    found = []
    for one in sets:
        some = cases(packed, one.outputs.rows, one.outputs.decisions.astype(np.float64), one.outputs.masks, rules)
        found.append(np.sort(some.presence[(some.label > 0) & (some.dice >= MISSED)]))
    return float(min(each[int(HIDDEN * len(each))] for each in found))


def measured(packed: Packed, sets: list[Unseen]) -> dict[str, Cases]:
    """Return the results of each set with rules that were fitted without its hospital; left-out hospitals are first."""
    found = {}
    for one in sorted(sets, key=lambda each: (not each.left_out, each.run != "release", each.hospital)):
        others = [other for other in sets if other.hospital != one.hospital]
        rules = fit(packed, others or sets)
        found[one.name] = cases(packed, one.outputs.rows, one.outputs.decisions.astype(np.float64), one.outputs.masks, rules)
    return found


def one_per_group(some: Cases) -> Cases:
    """Return the first case of each group."""
    first = np.zeros(len(some.label), bool)
    first[np.unique(some.group, return_index=True)[1]] = True
    return some.select(first)


def trade_off(some: Cases) -> str:
    """Return a table of missed and false lesions at each presence threshold."""
    lines = ["| presence threshold | missed | false lesions | Dice |", "|---|---|---|---|"]
    for threshold in THRESHOLDS:
        at = replace(some, rules=replace(some.rules, presence_threshold=threshold))
        cells = (threshold, missed(at), false_lesions(at), lesion_dice(at))
        lines.append("| " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return "\n".join(lines)


def presence_decisions(packed: Packed, sets: list[Unseen]) -> str:
    """Return a table of the ROC-AUC of each presence decision and of their mean, and the median of the mean on normal scans."""
    lines = ["| | evidence | context | mean | median on normals |", "|---|---|---|---|---|"]
    for one in sets:
        lesion, logits = packed.labels[one.outputs.rows] > 0, one.outputs.decisions[:, :2]
        if not lesion.all():
            mean = logits.mean(axis=1)
            cells = [roc_auc_score(lesion, score) for score in (logits[:, 0], logits[:, 1], mean)]
            lines.append(f"| {one.name} | " + " | ".join(f"{cell:.3f}" for cell in (*cells, np.median(mean[~lesion]))) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--intervals", action="store_true")
    parser.add_argument(
        "--one-per-group", action="store_true", help="measure the first scan of each patient or group of copies only"
    )
    options = parser.parse_args()
    packed = Packed.load(options.packed)
    sets = read(packed, options.runs, options.size)
    print(asdict(fit(packed, sets)), "\n")
    print(presence_decisions(packed, sets), "\n")
    every = measured(packed, sets)
    if options.one_per_group:
        every = {name: one_per_group(some) for name, some in every.items()}
    print(table(every, intervals=options.intervals))
    for name, some in every.items():
        print(f"\n{name}, its rules' threshold {some.rules.presence_threshold:.3f}")
        print(trade_off(some))


if __name__ == "__main__":
    main()
