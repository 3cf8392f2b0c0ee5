"""Decision rules of a model fitted to a site, without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bcdseg.data.dataset import Dataset, check_data
from bcdseg.data.labels import match_spellings
from bcdseg.errors import OptionError
from bcdseg.evaluation.calibrate import Fractions, choose_positive, wanted_fractions, with_rules
from bcdseg.evaluation.case_results import check_measurable, check_model, results_table
from bcdseg.evaluation.measures.intervals import DRAWS
from bcdseg.evaluation.site.cross_fitting import Fitting, RuleChange
from bcdseg.evaluation.site.effects import SiteEffect
from bcdseg.evaluation.site.rules import SiteTable, site_table
from bcdseg.evaluation.training_overlap import refuse_seen, remember_scans
from bcdseg.inference.rules import Rules
from bcdseg.messages import check_whole, counted
from bcdseg.model.model import Model
from bcdseg.model.registry import joint_training_overlap


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SiteFit:
    """Result of ``fit_site``.

    Attributes:
        model: Copy of the model with the rules that were changed; its card reports what was changed and why.
        site: Name of the data set.
        scans: Number of scans.
        groups: Number of their groups.
        changes: Whether each rule was changed, and the reason.
        effects: Effect of the changed rules on each quantity, such as ``"dice"``, ``"ece"``, ``"false_lesions"``.
    """

    model: Model
    site: str
    scans: int
    groups: int
    changes: tuple[RuleChange, ...]
    effects: Mapping[str, SiteEffect]

    @property
    def lines(self) -> list[str]:
        """Report as lines of text."""
        about = (
            f"The rules are fitted on {counted(self.scans, 'scan')} of {counted(self.groups, 'group')} of {self.site}. Figures "
            "have 95 % intervals over groups. Each scan is measured under rules that were fitted without its fold, but all scans "
            "decide which rules are changed."
        )
        shown = [str(one) for one in self.effects.values() if one.before.value is not None or one.after.value is not None]
        return [about, *map(str, self.changes), *shown]

    def to_dict(self) -> dict[str, Any]:
        """Return the result without the model, as JSON types."""
        return {
            "site": self.site,
            "scans": self.scans,
            "groups": self.groups,
            "rules": asdict(self.model.rules),
            "changes": [asdict(change) for change in self.changes],
            "effects": {name: asdict(effect) for name, effect in self.effects.items()},
        }

    def __repr__(self) -> str:
        first, *others = self.lines
        return "\n".join([f"<SiteFit of {self.model.name}: {first}", *(f"  {line}" for line in others)]) + ">"


def fit_site(
    model: Model,
    scans: Dataset,
    *,
    coverage: float = 0.9,
    lesions_shown: float = 0.95,
    sensitivity: Fractions = (0.9, 0.95),
    specificity: Fractions = 0.9,
    positive: str = "auto",
    class_frequencies: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> SiteFit:
    """Fit the decision rules of a model to some 30 to 300 scans of a site, without training.

    The rules are fitted one after another, and each is changed only where the scans determine it:

    - Temperature and mask threshold are changed where that improves the negative log-likelihood of the true classes, and the Dice
      of lesions. The improvement is measured by cross-fitting: each scan under the rule that was fitted on the other folds, which
      share no group with it. The 95 % interval of the improvement must exclude 0; otherwise the improvement may be noise. An
      interval needs ten groups of each kind of scan.
    - With ``class_frequencies``, the negative class gets an offset, which is fitted together with the temperature, by the same
      criterion. If it makes the negative class more probable, it must also not lower the sensitivity for ``positive``.
    - The presence threshold is the highest at which the stated fraction of the outlined lesions stay findings; the others become
      candidates. A threshold above the model's must lead to fewer false lesions, and one below it to fewer lesion scans without an
      outline, by the same interval. The number of groups with a lesion that it needs depends on that fraction, see below.
    - The confidence threshold, operating points and label sets must reach a stated fraction: nine tenths not flagged, a sensitivity
      or specificity, a coverage. They are changed where the interval of the fraction that they reach now excludes the stated one,
      or where the model has no such rule. They are always kept where the groups are so few that the fraction of a new threshold is
      uncertain by more than 0.1: 35 groups are needed for 0.9, and 20 for 0.95.

    Label sets are conformal: a set contains the true class of a new scan of the site with at least the stated probability. This is
    valid for each class where each has enough groups, else on average over the classes.

    Args:
        model: Model; it is not changed.
        scans: Scans of the site with labels, masks or both. Their groups should be the patients, whose scans are alike.
        coverage: Probability with which a label set contains the true class.
        lesions_shown: Fraction of the outlined lesions that stay findings at the presence threshold.
        sensitivity: Sensitivities of operating points; None for no such points.
        specificity: Specificities of operating points; None for no such points.
        positive: Class that the operating points predict; ``"auto"`` is ``malignant``, if the model has it.
        class_frequencies: Whether scans without a lesion are as frequent at the site as among these scans. Their class then gets an
            offset, so that its probability suits the site. Outlines and candidates stay as they are.
        draws: Number of bootstrap draws.
        seed: Seed of the folds and of the bootstrap.

    Returns:
        The model with its changed rules, the reason of each, and their effects with intervals.

    Raises:
        LeakError: The model was trained on some of these scans.
        InputError: A scan has a class that the model doesn't have, or no scan has a true mask or class.
    """
    check_model(model)
    check_data(scans)
    check_whole(draws=draws, seed=seed)
    for option, value in (("coverage", coverage), ("lesions_shown", lesions_shown)):
        if not 0 < value < 1:
            raise OptionError(f"{option}={value!r}: choose a number between 0 and 1, such as 0.9.")
    if class_frequencies and (model.no_lesion is None or not any(one.label for one in scans)):
        lacks = f"{model.name} has no negative class" if model.no_lesion is None else f"{scans.name} has no labels"
        raise OptionError(f"class_frequencies: {lacks}, so the fraction of scans without a lesion can't be fitted. Leave it out.")
    scans = match_spellings(scans, model.classes, model.name)
    check_measurable(model.name, model.classes, scans, has_masks=model.config.decoder is not None)
    refuse_seen(model, scans)
    wanted = [*wanted_fractions("sensitivity", sensitivity), *wanted_fractions("specificity", specificity)]
    for kind, fraction in wanted:
        if fraction == 1:
            raise OptionError(f"{kind}=1: choose a fraction below 1; no number of scans determines a threshold that misses none.")
    has_none = positive == "auto" and not any(name.lower() == "malignant" for name in model.classes)
    target = None if has_none else choose_positive(model.classes, positive)
    fitting = Fitting(site_table(model, scans), model.rules, positive=target, wanted=wanted, draws=draws, seed=seed)
    fitting.fit_frequencies(wanted=class_frequencies)
    fitting.fit_class_rules()
    fitting.fit_outline_rules(lesions_shown)
    fitting.fit_points()
    fitting.fit_label_sets(coverage)
    fitted = SiteFit(
        model=with_rules(model, **vars(fitting.rules)),
        site=scans.name,
        scans=len(scans),
        groups=len(set(fitting.cases.groups)),
        changes=tuple(fitting.changes),
        effects=fitting.effects(),
    )
    if model.training:
        seen = joint_training_overlap([model], also=remember_scans(scans))
        fitted.model.training |= {"site": fitted.lines, "seen": seen}
    return fitted


def fit_class_rules(model: Model, scans: Dataset, *, started_from: str = "") -> tuple[Model, tuple[RuleChange, ...]]:
    """Fit temperature and confidence threshold as ``fit_site`` does, and keep those that the scans are too few to determine.

    Args:
        model: Model; it is not changed.
        scans: Scans with labels.
        started_from: Name of the model whose other rules this model has, which are reported as kept; empty where it has none.
    """
    cases = results_table(model, scans, with_masks=False)
    missing = np.full((len(cases), 1), np.nan)
    table = SiteTable(cases=cases, thresholds=(model.rules.threshold,), dice=missing, outlined=missing)
    fitting = Fitting(table, model.rules, positive=None, wanted=[], draws=DRAWS, seed=0)
    fitting.fit_class_rules()
    kept = _kept_rules(model.rules, fitting.rules, started_from, OF_OUTLINES) if started_from else ()
    changes = (*fitting.changes, *kept)
    return _with_note(with_rules(model, **vars(fitting.rules)), changes), changes


def keep_rules(model: Model, *, started_from: str) -> tuple[Model, tuple[RuleChange, ...]]:
    """Keep all rules, and report those that differ from the defaults.

    Args:
        model: Model; it is not changed.
        started_from: Name of the model whose rules this model has.
    """
    changes = tuple(_kept_rules(model.rules, model.rules, started_from, (*OF_CLASSES, *OF_OUTLINES)))
    return _with_note(model, changes), changes


def _with_note(model: Model, changes: Sequence[RuleChange]) -> Model:
    return with_rules(model, note=" ".join(f"{one}." for one in map(str, changes)))


CHECKED = "on scans of a site, bcdseg.fit_site checks it for the new weights"
OF_CLASSES = (("temperature", "temperature", CHECKED), ("confidence threshold", "min_confidence", CHECKED))
OF_OUTLINES = (
    ("mask threshold", "threshold", CHECKED),
    ("presence threshold", "presence_threshold", CHECKED),
    ("refinement", "refinement", "it was not measured with the new weights"),
)
"""Names and fields of rules, and what a user can do about one that was chosen for other weights."""


def _kept_rules(before: Rules, after: Rules, started_from: str, rules: Sequence[tuple[str, str, str]]) -> Iterator[RuleChange]:
    """Yield the rules that were chosen for other weights and are kept."""
    defaults = Rules()
    for rule, field, advice in rules:
        old, new = getattr(before, field), getattr(after, field)
        if old != getattr(defaults, field):
            moved = "" if new == old else f" (now {new:.3g}, because it moves with the temperature)"
            yield RuleChange(rule=rule, changed=False, reason=f"{old:.3g} from {started_from}{moved}: {advice}")
