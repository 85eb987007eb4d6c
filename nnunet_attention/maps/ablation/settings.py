"""Says what an ablation replaces, and what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnunet_attention.evaluation.metrics.evaluate import DEFAULT_TOLERANCE_MM
from nnunet_attention.maps.ablation.replacing import REPLACEMENTS, check_gates

EACH, ALL = "each", "all"


@dataclass(frozen=True)
class AblationSettings:
    """Says what is replaced, and what is measured.

    Attributes:
        gates: sets of gates that are replaced together, by their numbers; `each` stands for each
            gate by itself, `all` for all together.
        replacements: names from `REPLACEMENTS`, each kept once.
        metrics: names of metrics, each kept once; verdicts are about the first.
        groups: each case's group, such as the patient; None: each case is its own group.
        tolerance_mm: the tolerance of normalised surface Dice.
        label_tolerances_mm: that of single labels, by name or key.
        seed: the seed of shuffling and of random weights.
    """

    gates: tuple[tuple[int, ...] | str, ...] = (EACH, ALL)
    replacements: tuple[str, ...] = tuple(REPLACEMENTS)
    metrics: tuple[str, ...] = ("dice",)
    groups: Mapping[str, str] | None = field(default=None, hash=False)
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    label_tolerances_mm: Mapping[str, float] = field(default_factory=dict, hash=False)
    seed: int = 0

    def __post_init__(self):
        # What is named twice would otherwise count twice in every test.
        for name in ("replacements", "metrics"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))

    def gate_sets(self, count: int) -> tuple[tuple[int, ...], ...]:
        """Return the sets of gates that are replaced together, each once.

        Args:
            count: how many gates the network has.

        Raises:
            UnknownGateError: if it lacks one of them.
        """
        chosen: list[tuple[int, ...]] = []
        for gates in self.gates:
            if gates == EACH:
                chosen += [(gate,) for gate in range(count)]
            elif gates == ALL:
                chosen.append(tuple(range(count)))
            else:
                assert not isinstance(gates, str), "a set of numbers"
                check_gates(gates, count)
                chosen.append(tuple(sorted(set(gates))))
        return tuple(dict.fromkeys(chosen))
