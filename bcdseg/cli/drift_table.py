"""The table of ``bcdseg info --drift``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from bcdseg.terminal import echo

if TYPE_CHECKING:
    from bcdseg.infer.drift import Drift, Scans
    from bcdseg.infer.predictor import Result

ROW = "| {:<11} | {:<9} | {:>6} | {:>10} | {:>13} | {:<16} |"


def print_drift(model: str, source: str) -> None:
    """Measure each runtime in each of its precisions against torch in 32 bits; a row as soon as one is measured."""
    from bcdseg.errors import BcdsegError, RuntimeFallbackWarning
    from bcdseg.infer.drift import LEAST_DICE, LEAST_SAME_CLASS, MOST_APART, lightened, parted
    from bcdseg.infer.runtimes import PRECISIONS
    from bcdseg.model.registry import load

    scans = parted(source)
    exact = lightened(load(model, runtime="torch").predict(scans.measured, on_error="keep"))
    echo(
        f"How far {model} drifts from torch with fp32, over {len(scans.measured)} scans; "
        f"int8 took its ranges from {len(scans.ranges)} others.\n"
        f"Within the bound: Dice of the masks {LEAST_DICE} or more, the same class in {LEAST_SAME_CLASS:.0%} or more, "
        f"probabilities {MOST_APART} apart or less, on average.\n"
    )
    echo(ROW.format("runtime", "precision", "Dice", "same class", "probabilities", "within the bound"))
    echo(ROW.format(*["---"] * 6))
    left_out: list[str] = []
    for name, precision in ((name, one) for name, each in PRECISIONS.items() for one in each):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeFallbackWarning)
                found = _measured(model, name, precision, scans, exact)
        except (BcdsegError, RuntimeFallbackWarning) as reason:
            left_out.append(f"{name} with {precision} is left out: {reason}")
        else:
            echo(_row(name, precision, found))
    echo("".join(f"\n{line}" for line in left_out))


def _measured(model: str, runtime: str, precision: str, scans: Scans, exact: list[Result]) -> Drift:
    from bcdseg.infer.drift import measure
    from bcdseg.infer.runtimes import RUNS_ON
    from bcdseg.model.registry import load

    ranges = list(scans.ranges) if precision == "int8" else None
    device = "auto" if "cuda" in RUNS_ON[runtime] else "cpu"
    loaded = load(model, device=device, runtime=runtime, precision=precision, calibrate_on=ranges)
    return measure(exact, loaded.predict(scans.measured, on_error="keep"))


def _row(runtime: str, precision: str, found: Drift) -> str:
    dice = "" if found.dice is None else f"{found.dice:.4f}"
    same = "" if found.same_class is None else f"{found.same_class:.1%}"
    apart = "" if found.apart is None else f"{found.apart:.4f}"
    return ROW.format(runtime, precision, dice, same, apart, "yes" if found.within else "no")
