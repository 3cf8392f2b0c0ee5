"""Command ``bcdseg fit-site``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from bcdseg.cli import options as common
from bcdseg.cli.evaluate import without_training_samples
from bcdseg.cli.options import DataOptions, in_output, in_results
from bcdseg.terminal import echo

Coverage = Annotated[float, in_results(metavar="FRACTION", help="Probability that a label set contains the true class.")]
LesionsShown = Annotated[
    float, in_results(metavar="FRACTION", help="Fraction of the outlined lesions that the presence threshold leaves findings.")
]
Positive = Annotated[str, in_results(metavar="CLASS", help="Class of the operating points; auto is malignant.")]
ClassFrequencies = Annotated[
    bool, in_results(help="Scans without a lesion are as frequent at the site as among these scans: adapt the class probabilities.")
]
Seed = Annotated[int, in_results(min=0, metavar="N", help="Seed of the folds and of the bootstrap.")]
Report = Annotated[Path | None, in_output(metavar="FILE.json", help="Write the changes and their effects here too.")]


def fit_site_command(
    model: common.ModelArgument,
    data: common.DataSet,
    out: common.Out,
    overwrite: common.Overwrite = False,
    report: Report = None,
    layout: common.Layout = "auto",
    columns: common.Columns = None,
    class_map: common.ClassMap = None,
    on_problem: common.OnProblem = "error",
    resize_masks: common.ResizeMasks = False,
    exclude_training_samples: common.ExcludeTrainingSamples = False,
    unseen: common.Unseen = False,
    coverage: Coverage = 0.9,
    lesions_shown: LesionsShown = 0.95,
    sensitivity: common.Sensitivities = None,
    specificity: common.Specificities = None,
    positive: Positive = "auto",
    class_frequencies: ClassFrequencies = False,
    draws: common.Draws = 1000,
    seed: Seed = 0,
    device: common.Device = "auto",
) -> None:
    """Fit a model's decision rules to some 30 to 300 scans of your site, without training.

    Rules that the scans are too few to determine are kept, and the command prints how many more are needed. Without --sensitivity
    the operating points have a sensitivity of 0.9 and 0.95, without --specificity a specificity of 0.9.

    Exit status: 0 all good, 2 wrong usage, or scans that the model was trained on.

    Examples:
        bcdseg fit-site bus-multi my-scans -o my-site
        bcdseg fit-site mine scans.csv -o my-site --coverage 0.95
    """
    from bcdseg.evaluation.site import fit_site
    from bcdseg.files import check_free, check_writable, write_whole
    from bcdseg.inference.writers import json_bytes
    from bcdseg.model.registry import load
    from bcdseg.model.saving import check_place

    check_place(out.resolve(), overwrite=overwrite)
    check_writable(out.resolve().parent)
    if report is not None:
        check_free([report], overwrite=overwrite)
        check_writable(report.parent)
    loaded, scans = load(model, device=device), DataOptions(layout, columns, class_map, on_problem, resize_masks).open(data)
    if exclude_training_samples or unseen:
        scans = without_training_samples(loaded, scans)
    fitted = fit_site(
        loaded,
        scans,
        coverage=coverage,
        lesions_shown=lesions_shown,
        sensitivity=sensitivity or (0.9, 0.95),
        specificity=specificity or 0.9,
        positive=positive,
        class_frequencies=class_frequencies,
        draws=draws,
        seed=seed,
    )
    fitted.model.save(out, overwrite=overwrite)
    if report is not None:
        write_whole(report, json_bytes(fitted.to_dict()), overwrite=overwrite)
    echo("\n".join([*fitted.lines, f"\nThe model is {out}"]))
