"""Assesses the difference of two models against the margin below which it does not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_attention.evaluation.statistics.equivalence import (
    Equivalence,
    Verdict,
    detectable_difference,
    equivalence,
    false_claim_probability_of,
    non_inferiority,
    repeats_needed,
    units_needed,
    verdict,
)
from nnunet_attention.evaluation.statistics.estimates import Components, Estimate, over_units
from nnunet_attention.evaluation.statistics.repeats import Repeated


@dataclass(frozen=True)
class Assessment:
    """Holds the assessment of a pair's difference against the margin, from the first model's view.

    Attributes:
        equivalence: both one-sided tests, and the interval that must lie within the margin.
        not_worse_p_value: one-sided, small if the first model is not worse by the margin.
        not_better_p_value: likewise for the second model.
        detectable_difference: the smallest difference that a comparison of as many cases, or
            groups, and trainings finds with 80 % power.
        units_needed: cases, or groups, needed to find a difference of the margin with 80 % power
            at the same number of trainings; None where no number is enough.
        trainings_needed: trainings of each fold likewise needed, at the same number of cases or
            groups; None where no number is enough, or models were not trained repeatedly.
        false_claim_probability: probability that the model with the better mean is in truth not
            better.
        verdict: better, worse, equivalent or undecided.
    """

    equivalence: Equivalence
    not_worse_p_value: float
    not_better_p_value: float
    detectable_difference: float
    units_needed: int | None
    trainings_needed: int | None
    false_claim_probability: float
    verdict: Verdict


def assess(
    differences: np.ndarray,
    repeated: Repeated | None,
    margin: float,
    higher_is_better: bool,
    adjusted_p_value: float,
    ranks_disagree: bool = False,
) -> Assessment | None:
    """Assess the difference of two models; None for a single case or group.

    Args:
        differences: first minus second, by case or group.
        repeated: the comparison over trainings, if there are several.
        margin: above 0.
        higher_is_better: of the metric.
        adjusted_p_value: of the difference; decides whether the first model is better or worse.
        ranks_disagree: see `equivalence.verdict`.
    """
    estimate, components = _estimated(differences, repeated)
    if estimate is None:
        return None
    units, trainings = len(differences), 1 if repeated is None else min(repeated.repeats)
    # The expected power of as many units and trainings, consistent with how the needed ones are
    # planned.
    planned = components.planned(units, trainings) or estimate
    return Assessment(
        equivalence=equivalence(estimate, margin),
        not_worse_p_value=non_inferiority(estimate, margin, higher_is_better),
        not_better_p_value=non_inferiority(estimate.turned(), margin, higher_is_better),
        detectable_difference=detectable_difference(planned),
        units_needed=units_needed(components, margin, trainings),
        trainings_needed=(None if repeated is None else repeats_needed(components, margin, units)),
        false_claim_probability=false_claim_probability_of(estimate),
        verdict=verdict(
            estimate,
            margin,
            higher_is_better,
            p_value=adjusted_p_value,
            ranks_disagree=ranks_disagree,
        ),
    )


def _estimated(
    differences: np.ndarray, repeated: Repeated | None
) -> tuple[Estimate | None, Components]:
    if repeated is not None:
        return repeated.estimate, repeated.components
    variance = float(np.var(differences, ddof=1)) if len(differences) > 1 else 0.0
    return over_units(differences), Components(unit=variance)
