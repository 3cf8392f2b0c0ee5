"""Replace the network of ``bus-multi`` by one that was trained further, and keep its decision rules.

    python training/hospitals/renew.py PACKED.npz RUN --mean               # both networks on patients that neither was trained on
    python training/hospitals/renew.py PACKED.npz RUN --mean --out bcdseg/model/weights/bus-multi
    python training/hospitals/renew.py PACKED.npz                          # what refinement changes: one pass against two
    python training/hospitals/renew.py PACKED.npz --presence-threshold 0.3 --out bcdseg/model/weights/bus-multi
    python training/hospitals/renew.py PACKED.npz --left-out RUNS --out bcdseg/model/weights/bus-multi     # figures alone

``RUN`` is a run of ``train.py --release --fold 0 --start bus-multi``. With ``--mean`` the new weights are the mean of those before
and after it (Wortsman et al., Model soups, ICML 2022). The rules were fitted on networks without a hospital (``choose_rules.py``).
So that they fit the new network, its logits get the mean and the standard deviation of the released network's calibrated logits on
the same left-out patients.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from average import mean_of
from choose_rules import SIZE, fit, measured, read
from figures import MEASURES, Cases, Rules, cases, difference, table
from numpy.typing import NDArray
from pack import HOSPITALS, Packed
from predict import REFINEMENT, Outputs, load_network, outputs
from release import FOLD, TEXT, calibrated
from release import rules as unseen_rules
from selective import confidence_threshold, summary
from train import choose

import bcdseg
from bcdseg import Model
from bcdseg.networks.network import Network
from bcdseg.training.config import from_toml

NAME = "bus-multi"
COLUMNS = ", other patients"


def released_rules(model: Model) -> Rules:
    """Return the rules that are stored in a released model: weights of both presence decisions, and thresholds."""
    head: Any = model.network.class_head  # type: ignore[union-attr]
    evidence, context = head.presence.weight[0].tolist()
    assert model.rules.presence_threshold is not None
    return Rules(
        evidence=evidence,
        context=context,
        bias=head.presence.bias.item(),
        mask_threshold=model.rules.threshold,
        presence_threshold=model.rules.presence_threshold,
        min_area=model.rules.min_lesion_share,
    )


def matched_rules(old: Rules, before: Outputs, after: Outputs, lesion: NDArray[np.bool_]) -> Rules:
    """Return rules that give the new logits of presence and class the mean and the standard deviation of the old ones."""
    presence = before.decisions[:, :2] @ np.array([old.evidence, old.context]) + old.bias
    scale, bias = _matched(after.decisions[:, :2].mean(axis=1), presence)
    class_scale, shift = _matched(after.decisions[lesion, 2], before.decisions[lesion, 2])
    return replace(old, evidence=scale / 2, context=scale / 2, bias=bias, scale=class_scale, shift=shift)


def _matched(new: NDArray[np.floating[Any]], old: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return scale and shift that give new logits the mean and the standard deviation of old ones."""
    scale = float(old.std() / new.std())
    return scale, float(old.mean() - scale * new.mean())


def new_figures(old: str, columns: dict[str, Cases]) -> str:
    """Return the table of a card with new columns in place of those of the same name; the others stay."""
    lines = [line.strip().strip("|").split("|") for line in old.strip().splitlines()]
    fresh = [line.strip("|").split("|") for line in table(columns, intervals=True).splitlines()]
    places = {name.strip(): at for at, name in enumerate(lines[0])}
    for at, name in enumerate(fresh[0]):
        if name.strip() in columns:
            for line, new in zip(lines, fresh, strict=True):
                assert line[0].strip() == new[0].strip()
                line[places[name.strip()]] = new[at]
    return "\n" + "\n".join("|" + "|".join(line) + "|" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("run", type=Path, nargs="?", help="the further training; without it the network stays")
    parser.add_argument("--mean", action="store_true", help="average the weights of the run with the released ones")
    parser.add_argument("--left-out", type=Path, help="runs without a hospital, for the columns of hospitals left out")
    parser.add_argument("--out", type=Path, help="write the new model to this folder")
    parser.add_argument("--presence-threshold", type=float, help="in place of the released one, for both networks")
    options = parser.parse_args()
    packed, model = Packed.load(options.packed), bcdseg.load(NAME, runtime="torch", device="cpu")
    assert isinstance(model.network, Network)
    network = model.network if options.run is None else load_network(options.run / "network.safetensors")
    if options.mean:
        network.load_state_dict(mean_of([network.state_dict(), model.network.state_dict()]))
    rows = np.setdiff1d(np.arange(len(packed)), choose(packed, None, FOLD, release=False))
    passes = (None if options.run is None else REFINEMENT, REFINEMENT)
    before, after = (
        outputs(one, packed, rows, SIZE, mirrored=False, refinement=refinement)
        for one, refinement in zip((model.network, network), passes, strict=True)
    )
    old = released_rules(model)
    if options.presence_threshold is not None:
        old = replace(old, presence_threshold=options.presence_threshold)
    new = old if options.run is None else matched_rules(old, before, after, packed.labels[rows] > 0)
    print(new, "\n")
    found: dict[str, Cases] = {}
    for number, hospital in enumerate(HOSPITALS):
        pair = []
        for name, some, rules in (("released", before, old), ("new", after, new)):
            at = packed.hospitals[some.rows] == number
            pair.append(cases(packed, some.rows[at], some.decisions[at].astype(np.float64), some.masks[at], rules))
            found[f"{hospital}, {name}"] = pair[-1]
        print(
            f"{hospital}, new against released:", *(f"{name} {difference(*pair, of)}" for name, of in MEASURES.items()), sep="\n  "
        )
    print("\n" + table(found, intervals=True))
    if options.out:
        network, content = calibrated(network, new), from_toml(TEXT.read_text(encoding="utf-8"))
        columns = {f"{hospital}{COLUMNS}": found[f"{hospital}, new"] for hospital in HOSPITALS}
        notes: dict[str, Any] = {}
        decided = replace(model.rules, refinement=REFINEMENT, presence_threshold=new.presence_threshold)
        if options.left_out:
            sets = read(packed, options.left_out)
            left_out = {one.name for one in sets if one.left_out}
            unseen = {
                name: replace(some, rules=replace(some.rules, presence_threshold=new.presence_threshold))
                for name, some in measured(packed, sets).items()
                if name in left_out
            }
            columns |= unseen
            points = unseen_rules(packed, sets, fit(packed, sets)).operating_points
            decided = replace(decided, min_confidence=round(confidence_threshold(unseen), 3), operating_points=points)
            notes["risk and coverage"] = f"{content['risk and coverage']}\n\n{summary(unseen)}"
        figures = new_figures(str(model.training["figures"]), columns)
        updated = {"method": content["method"], "measured on": content["measured on"], "figures": figures}
        training = {**model.training, **updated, **notes}
        Model(network, model.preprocessing, decided, training=training, name=NAME).save(options.out, half=True, overwrite=True)


if __name__ == "__main__":
    main()
