"""Evaluate a network on the hospital that it was not trained on, and write the report with subgroups.

    python training/hospitals/report.py PACKED.npz RUNS bus-bra BUS_BRA OUT --subgroups device birads size

``RUNS/loho-HOSPITAL`` contains the network (``train.py --leave-out``) and its outputs (``predict.py``). Calibration and thresholds
are fitted on other patients of its training hospitals, so that nothing is chosen on the scans that are tested.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from choose_rules import SIZE, fit, read
from pack import HOSPITALS, Packed
from predict import REFINEMENT, load_network
from release import calibrated

import bcdseg
from bcdseg import Model, Preprocessing, Rules
from bcdseg.bundled import DEFAULT_MODEL


def left_out_model(packed: Packed, runs: Path, hospital: str) -> Model:
    """Return the model without a hospital, with rules from other patients of its training hospitals.

    Raises:
        SystemExit: The outputs of the run are missing.
    """
    run = f"loho-{hospital}"
    known = [one for one in read(packed, runs) if one.run == run and not one.left_out]
    if not known:
        raise SystemExit(f"{runs / run} has no outputs for other patients: run predict.py with --leave-out {hospital} --fold 0.")
    chosen = fit(packed, known)
    rules = Rules(
        threshold=chosen.mask_threshold,
        presence_threshold=round(chosen.presence_threshold, 4),
        min_lesion_share=chosen.min_area,
        refinement=REFINEMENT,
    )
    network = calibrated(load_network(runs / run / "network.safetensors"), chosen)
    summary = {"summary": f"The recipe of {DEFAULT_MODEL}, trained without any scan of {hospital}."}
    preprocessing = Preprocessing(size=(SIZE, SIZE), resize="fit", channels=1)
    return Model(network, preprocessing, rules, training=summary, name=f"{DEFAULT_MODEL} without {hospital}")


def hospital_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the arguments of a script that measures one hospital."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("hospital", choices=HOSPITALS)
    parser.add_argument("folder", type=Path, help="the hospital's data set")
    return parser


def main() -> None:
    parser = hospital_parser(__doc__)
    parser.add_argument("out", type=Path, help="the report's folder")
    parser.add_argument("--subgroups", nargs="*", default=["size"], help="facts of the samples that define subgroups")
    options = parser.parse_args()
    model = left_out_model(Packed.load(options.packed), options.runs, options.hospital)
    found = bcdseg.evaluate(
        model, bcdseg.open_dataset(options.folder), subgroups=options.subgroups, out=options.out, overwrite=True
    )
    print(found)


if __name__ == "__main__":
    main()
