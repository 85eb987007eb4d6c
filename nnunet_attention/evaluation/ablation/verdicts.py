"""States in one sentence for each gate and label whether the gate's effect matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nnunet_attention.evaluation.ablation.effects import Effect
from nnunet_attention.evaluation.ablation.rows import ALL_GATES
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.leaderboard.tables import confidence_interval, p_text, signed
from nnunet_attention.evaluation.metrics.definitions import METRICS

LEVEL = 0.05
MARGIN = 0.005
"""Differences smaller than this do not matter."""
# Replacements that preserve how much a gate passes, but not where.
KEEPING_THE_LEVEL = ("mean", "shuffled", "other_case", "uniform")
_IN_WORDS = {
    "mean": "with the mean of its coefficients",
    "shuffled": "with its coefficients shuffled",
    "other_case": "with another image's coefficients",
    "uniform": "with one number for all images",
}
_PLURALS = (
    ("matters", "matter"),
    ("harms ", "harm "),
    ("replaced, it gives", "replaced, they give"),
    ("is idle", "are idle"),
    ("it costs", "they cost"),
    ("is undecided", "are undecided"),
    ("a random gate does", "random gates do"),
)
Kind = Literal["matters", "harms", "idle", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """Describes the effect of a gate, or several together, on a label.

    Attributes:
        gates: named as in tables.
        label: name.
        kind: kind of verdict.
        sentence: the verdict in words.
        effect: the effect that it rests on.
    """

    gates: str
    label: str
    kind: Kind
    sentence: str
    effect: Effect


def verdicts_of(effects: Sequence[Effect], metric: str, margin: float) -> tuple[Verdict, ...]:
    """Return the verdicts on all gates and labels for which a replacement kept the level.

    Such a replacement preserves how much a gate passes, but changes where.

    - `matters`: such a replacement makes the segmentation significantly worse; if random gates were
      tried, also by significantly more than with random gates.
    - `harms`: none does, but one makes it significantly better.
    - `idle`: none does; and all their intervals lie within the margin, or the loss does not exceed
      that with random gates.
    - `undecided`: none does, but an interval reaches beyond the margin.

    The sentence names the replacement with the largest effect.

    Args:
        effects: effects of the ablation.
        metric: metric that the verdicts are about.
        margin: differences smaller than this do not matter.
    """
    chosen: dict[tuple[str, str], list[Effect]] = {}
    for effect in effects:
        if effect.metric == metric and effect.replacement in KEEPING_THE_LEVEL:
            chosen.setdefault((effect.gates, effect.label), []).append(effect)
    return tuple(_verdict(found, margin) for found in chosen.values())


def gate_in_words(gates: str) -> str:
    """Name gates as at the beginning of a sentence."""
    if gates == ALL_GATES:
        return "all gates together"
    return f"gate{'s' if '+' in gates else ''} {gates.replace('+', ' and ')}"


def _verdict(effects: list[Effect], margin: float) -> Verdict:
    largest = max(effects, key=lambda effect: abs(effect.gain))
    losses = [effect for effect in effects if _is_certain(effect) and effect.gain < 0]
    beyond = [effect for effect in losses if _is_beyond_random(effect)]
    gains = [effect for effect in effects if _is_certain(effect) and effect.gain > 0]
    if beyond:
        effect = min(beyond, key=lambda one: one.gain)
        return _said("matters", effect, f"matters by {_numbers(effect)} for {_label(effect)},")
    if gains and not losses:
        effect = max(gains, key=lambda one: one.gain)
        text = f"harms {_label(effect)}: replaced, it gives {_numbers(effect)}"
        return _said("harms", effect, text)
    if losses:
        effect = min(losses, key=lambda one: one.gain)
        text = (
            f"is idle for {_label(effect)}: replaced, it costs no more than a random gate does, "
            f"{_numbers(effect)}"
        )
        return _said("idle", effect, text)
    if all(_is_within(effect, margin) for effect in effects):
        return _said("idle", largest, f"is idle for {_label(largest)}: {_numbers(largest)}")
    return _said("undecided", largest, f"is undecided for {_label(largest)}: {_numbers(largest)}")


def _label(effect: Effect) -> str:
    return f"the {effect.label}" if effect.label == MEAN_OF_LABELS else effect.label


def _said(kind: Kind, effect: Effect, text: str) -> Verdict:
    words = gate_in_words(effect.gates)
    if effect.gates == ALL_GATES or "+" in effect.gates:
        for singular, plural in _PLURALS:
            text = text.replace(singular, plural)
    sentence = f"{words} {text} {_IN_WORDS[effect.replacement]}"
    p_value = p_text(effect.adjusted_p_value).replace("<", "< ")
    sign = "" if p_value.startswith("<") else "= "
    return Verdict(
        effect.gates, effect.label, kind, f"{sentence} (p {sign}{p_value}, Holm)", effect
    )


def _numbers(effect: Effect) -> str:
    comparison, metric = effect.comparison, effect.metric
    interval = confidence_interval(comparison.low, comparison.high, metric, signed)
    return f"{signed(comparison.mean_difference, metric)} {METRICS[metric].title} {interval}"


def _is_certain(effect: Effect) -> bool:
    return effect.adjusted_p_value < LEVEL


def _is_beyond_random(effect: Effect) -> bool:
    beyond = effect.beyond_random
    if beyond is None or effect.beyond_random_p_value is None:
        return True
    # The effect size is above 0 if the first is better.
    return effect.beyond_random_p_value < LEVEL and beyond.effect_size < 0


def _is_within(effect: Effect, margin: float) -> bool:
    ends = (effect.comparison.low, effect.comparison.high)
    return all(end is not None and abs(end) <= margin for end in ends)


def map_name(gate: str) -> str:
    """Return the name of a gate's map, as `nnunet-attention maps` writes it."""
    return f"gate_{gate}"
