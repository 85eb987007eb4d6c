"""States in one sentence for each gate and label whether the gate's effect matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.effects import Effect
from nnunet_attention.evaluation.ablation.rows import ALL_GATES
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.leaderboard.tables import confidence_interval, p_text, signed
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Comparison
from nnunet_attention.evaluation.statistics.equivalence import non_inferiority
from nnunet_attention.evaluation.statistics.estimates import Estimate

LEVEL = 0.05
MARGIN = 0.005
"""Differences smaller than this do not matter, in metrics whose best value is 1."""
# Replacements that preserve how much a gate passes, but not where.
KEEPING_THE_LEVEL = ("mean", "shuffled", "other_case", "uniform")
_IN_WORDS = {
    "mean": "with the mean of its coefficients",
    "shuffled": "with its coefficients shuffled",
    "other_case": "with another image's coefficients",
    "uniform": "with one number for all images",
}
_RANDOM = "random weights of one draw"
_PLURALS = (
    ("matters", "matter"),
    ("harms ", "harm "),
    ("replaced, it gives", "replaced, they give"),
    ("is idle", "are idle"),
    ("it costs", "they cost"),
    ("is undecided", "are undecided"),
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
        idle_p_value: small if the gate is idle, see `verdicts_of`.
    """

    gates: str
    label: str
    kind: Kind
    sentence: str
    effect: Effect
    idle_p_value: float


def default_margin(metric: str) -> float:
    """Return the difference below which none matters, for a metric whose best value is 1.

    Raises:
        CommandError: if the metric has another unit, of which the user must say what matters.
    """
    found = METRICS[metric]
    if found.when_both_empty != 1:
        raise CommandError(
            f"--margin is needed, as the verdicts are about {metric}: its default, {MARGIN:g}, is "
            "for metrics whose best value is 1, such as dice; say which difference of "
            f"{found.title} does not matter"
        )
    return MARGIN


def verdicts_of(effects: Sequence[Effect], metric: str, margin: float) -> tuple[Verdict, ...]:
    """Return the verdicts on all gates and labels for which a replacement kept the level.

    Such a replacement preserves how much a gate passes, but changes where. The first of these that
    holds is the verdict, so that a significant difference that is too small to matter is none:

    - `idle`: every such replacement is shown to change the metric by less than the margin. With
      random gates, it is enough that one is shown to gain less than the margin, and to cost less
      than the margin more than it costs with random gates. Shown is what a one-sided t test over
      cases, or groups, says at 5 %; with random gates, as either is enough, at 2.5 %. No gate is
      idle while a case has the metric only with a replacement or only without, as such a case is
      in no difference.
    - `matters`: one makes the segmentation significantly worse; if random gates were tried, also by
      significantly more than with random gates.
    - `harms`: none makes it significantly worse, but one makes it significantly better.
    - `undecided`: more cases are needed, or most cases change in one direction and the mean in the
      other.

    What is too small to matter, as for `idle`, neither matters nor harms. The sentence names the
    replacement with the largest effect, of those that the verdict rests on.

    Args:
        effects: effects of the ablation, with corrected p-values.
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
    idle = max(_idle_p_value(effect, margin) for effect in effects)
    unpaired = max(effects, key=lambda effect: effect.in_one_only)
    if idle < LEVEL and not unpaired.in_one_only:
        return _said("idle", _largest(effects), idle, _idle(effects, margin, idle))
    not_small = [effect for effect in effects if _idle_p_value(effect, margin) >= LEVEL]
    large = [effect for effect in not_small if _is_certain(effect)]
    losses = [effect for effect in large if effect.gain < 0]
    beyond = [effect for effect in losses if _is_beyond_random(effect)]
    if beyond:
        effect = _largest(beyond)
        text = f"matters by {_numbers(effect)} for {_label(effect)}, {_how(effect)}"
        return _said("matters", effect, idle, text)
    gains = [effect for effect in large if effect.gain > 0]
    if gains and not losses:
        effect = _largest(gains)
        text = f"harms {_label(effect)}: replaced, it gives {_numbers(effect)} {_how(effect)}"
        return _said("harms", effect, idle, text)
    effect = unpaired if unpaired.in_one_only else _largest(losses or not_small)
    return _said("undecided", effect, idle, _undecided(effect))


def _largest(effects: Sequence[Effect]) -> Effect:
    return max(effects, key=lambda effect: abs(effect.gain) if effect.comparison.n else -1.0)


def _label(effect: Effect) -> str:
    return f"the {effect.label}" if effect.label == MEAN_OF_LABELS else effect.label


def _how(effect: Effect) -> str:
    return f"{_IN_WORDS[effect.replacement]} ({_p(effect.adjusted_p_value)}, Holm)"


def _idle(effects: Sequence[Effect], margin: float, idle_p_value: float) -> str:
    effect = _largest(effects)
    text = f"is idle for {_label(effect)}: "
    by_itself = max(_no_loss(one.estimate, one.metric, margin) for one in effects)
    if 2 * by_itself >= LEVEL and effect.beyond_random is not None:
        text += f"replaced, it costs hardly more than with {_RANDOM}, "
    numbers = f"{_numbers(effect)} {_IN_WORDS[effect.replacement]}"
    return f"{text}{numbers} (idle: {_p(idle_p_value)})"


def _undecided(effect: Effect) -> str:
    text = f"is undecided for {_label(effect)}: "
    measured = effect.comparison.n > 0
    text += f"{_numbers(effect)} {_how(effect)}" if measured else _IN_WORDS[effect.replacement]
    if effect.adjusted_p_value < LEVEL and not _ranks_agree(effect.comparison, effect.metric):
        text += ", but mean and ranks disagree"
    if effect.in_one_only:
        return (
            f"{text}, {'but ' if measured else ''}{METRICS[effect.metric].title} is undefined in "
            f"one of both predictions in {effect.in_one_only} of {effect.cases + effect.left_out} "
            "cases"
        )
    beyond, p_value = effect.beyond_random, effect.beyond_random_p_value
    if beyond is not None and p_value is not None and _is_certain(effect) and effect.gain < 0:
        numbers = _in_numbers(beyond, effect.metric)
        text += f", beyond {_RANDOM} {numbers} ({_p(p_value)}, Holm)"
    return text


def _said(kind: Kind, effect: Effect, idle_p_value: float, text: str) -> Verdict:
    words = gate_in_words(effect.gates)
    if effect.gates == ALL_GATES or "+" in effect.gates:
        for singular, plural in _PLURALS:
            text = text.replace(singular, plural)
    return Verdict(effect.gates, effect.label, kind, f"{words} {text}", effect, idle_p_value)


def _p(p_value: float) -> str:
    text = p_text(p_value).replace("<", "< ")
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _numbers(effect: Effect) -> str:
    return _in_numbers(effect.comparison, effect.metric)


def _in_numbers(comparison: Comparison, metric: str) -> str:
    interval = confidence_interval(comparison.low, comparison.high, metric, signed)
    return f"{signed(comparison.mean_difference, metric)} {METRICS[metric].title} {interval}"


def _is_certain(effect: Effect) -> bool:
    return effect.adjusted_p_value < LEVEL and _ranks_agree(effect.comparison, effect.metric)


def _ranks_agree(comparison: Comparison, metric: str) -> bool:
    """Tell whether the test, which is of ranks, is in favour of what is better in the mean."""
    return comparison.ranks_agree(METRICS[metric].higher_is_better)


def _is_beyond_random(effect: Effect) -> bool:
    beyond = effect.beyond_random
    if beyond is None or effect.beyond_random_p_value is None:
        return True
    # The effect size is above 0 if the first is better.
    is_certain = effect.beyond_random_p_value < LEVEL and _ranks_agree(beyond, effect.metric)
    return is_certain and beyond.effect_size < 0


def _idle_p_value(effect: Effect, margin: float) -> float:
    """Return the p-value of a replacement that neither gains nor costs as much as the margin.

    With random gates, it may also cost less than the margin more than it costs there.
    """
    loss = _no_loss(effect.estimate, effect.metric, margin)
    if effect.beyond_random is not None:
        extra = _no_loss(effect.beyond_random_estimate, effect.metric, margin)
        # Either is enough, so both are corrected.
        loss = min(1.0, 2 * min(loss, extra))
    return max(loss, _no_gain(effect.estimate, effect.metric, margin))


def _no_loss(estimate: Estimate | None, metric: str, margin: float) -> float:
    if estimate is None:
        return 1.0
    return non_inferiority(estimate, margin, METRICS[metric].higher_is_better)


def _no_gain(estimate: Estimate | None, metric: str, margin: float) -> float:
    return _no_loss(None if estimate is None else estimate.turned(), metric, margin)


def map_name(gate: str) -> str:
    """Return the name of a gate's map, as `nnunet-attention maps` writes it."""
    return f"gate_{gate}"
