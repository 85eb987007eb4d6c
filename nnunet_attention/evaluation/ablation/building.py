"""Puts together what an ablation found: effects, verdicts, curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from nnunet_attention.evaluation.ablation.curves import Curves, curves_of
from nnunet_attention.evaluation.ablation.effects import Effect, effects_of
from nnunet_attention.evaluation.ablation.rows import RANDOMISED
from nnunet_attention.evaluation.ablation.verdicts import MARGIN, Verdict, verdicts_of


@dataclass(frozen=True)
class Ablation:
    """What replacing gates' coefficients did.

    Attributes:
        rows: of single cases, as `ablate` returns them.
        curve_rows: of single cases, as `deletion_curves` returns them; None where none were asked
            for.
        metrics: names; verdicts and curves are about the first.
        groups: of each case; None: each case is its own.
        margin: smaller differences do not matter.
        seed: of the bootstrap.
        model: where the model came from, and how it predicted, for the record.
        effects: of each replacement.
        verdicts: of each gate and label.
        curves: what deletion and insertion show; None where they were not asked for.
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

    @property
    def cases(self) -> int:
        """The number of cases."""
        return self.rows["case"].nunique()

    @property
    def unit(self) -> str:
        """What the statistics count as one."""
        return "case" if self.groups is None else "group"

    @property
    def units(self) -> int:
        """How many cases or groups there are."""
        return self.cases if self.groups is None else len(set(self.groups.values()))

    @property
    def tests(self) -> int:
        """How many tests Holm's correction is over."""
        beyond = sum(effect.beyond_random is not None for effect in self.effects)
        return len(self.effects) + beyond

    @property
    def least_p_value(self) -> float:
        """The smallest that Wilcoxon's test can give after Holm's correction."""
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
    margin: float = MARGIN,
    seed: int = 0,
) -> Ablation:
    """Test and judge what was measured; for the arguments see `Ablation`."""
    effects = effects_of(rows, groups, seed)
    curves = None if curve_rows is None else curves_of(curve_rows, metrics[0], groups, seed)
    verdicts = verdicts_of(effects, metrics[0], margin)
    return Ablation(
        rows, curve_rows, metrics, groups, margin, seed, model, effects, verdicts, curves
    )
