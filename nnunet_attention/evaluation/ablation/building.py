"""Puts together the results of an ablation: effects, verdicts, curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from nnunet_attention.evaluation.ablation.correcting import corrected, p_values
from nnunet_attention.evaluation.ablation.curves import Curves, curves_of
from nnunet_attention.evaluation.ablation.effects import Effect, effects_of
from nnunet_attention.evaluation.ablation.rows import RANDOMISED
from nnunet_attention.evaluation.ablation.verdicts import Verdict, default_margin, verdicts_of


@dataclass(frozen=True)
class Ablation:
    """The results of replacing gates' coefficients.

    Attributes:
        rows: results of single cases, as `ablate` returns them.
        curve_rows: curves of single cases, as `deletion_curves` returns them; None if none were
            requested.
        metrics: names; verdicts and curves are about the first.
        groups: the group of each case; None: each case is its own group.
        margin: differences smaller than this do not matter.
        seed: of the bootstrap.
        model: where the model came from, and how it predicted, for the record.
        effects: the effects of each replacement.
        verdicts: the verdicts on each gate and label.
        curves: the results of deletion and insertion; None if they were not requested.
        tolerance_mm: of normalised surface Dice, by label; None if it is not known.
    """

    rows: pd.DataFrame
    curve_rows: pd.DataFrame | None
    metrics: tuple[str, ...]
    groups: Mapping[str, str] | None
    margin: float
    seed: int
    model: Mapping[str, object]
    effects: tuple[Effect, ...] = field(default=())
    verdicts: tuple[Verdict, ...] = field(default=())
    curves: Curves | None = None
    tolerance_mm: Mapping[str, float] | None = None

    @property
    def cases(self) -> int:
        """The number of cases."""
        return self.rows["case"].nunique()

    @property
    def unit(self) -> str:
        """The unit of the statistics: case or group."""
        return "case" if self.groups is None else "group"

    @property
    def units(self) -> int:
        """The number of cases or groups."""
        return self.cases if self.groups is None else len(set(self.groups.values()))

    @property
    def tests(self) -> int:
        """The number of tests that Holm's correction covers."""
        return len(p_values(self.effects, self.curves))

    @property
    def least_p_value(self) -> float:
        """The smallest p-value that Wilcoxon's test can give after Holm's correction."""
        return min(1.0, self.tests * 2.0 ** (1 - self.units))

    @property
    def has_random_gates(self) -> bool:
        """Tell whether gates with random weights were tried too."""
        return bool((self.rows["weights"] == RANDOMISED).any())


def build_ablation(
    rows: pd.DataFrame,
    metrics: tuple[str, ...],
    model: Mapping[str, object],
    curve_rows: pd.DataFrame | None = None,
    groups: Mapping[str, str] | None = None,
    margin: float | None = None,
    seed: int = 0,
    tolerance_mm: Mapping[str, float] | None = None,
) -> Ablation:
    """Test and judge the measured differences; for the arguments see `Ablation`.

    Raises:
        CommandError: if no margin is given, and the first metric has no default, see
            `default_margin`.
    """
    margin = default_margin(metrics[0]) if margin is None else margin
    curves = None if curve_rows is None else curves_of(curve_rows, metrics[0], groups, seed)
    effects, curves = corrected(effects_of(rows, groups, seed), curves)
    verdicts = verdicts_of(effects, metrics[0], margin)
    return Ablation(
        *(rows, curve_rows, metrics, groups, margin, seed, model),
        *(effects, verdicts, curves, tolerance_mm),
    )
