"""Verdicts say no more than the numbers show."""

import math

import numpy as np
import pytest
from ablations import LOSS, NOTHING, WIDE, rows_of, table_of

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.correcting import corrected
from nnunet_attention.evaluation.ablation.effects import Effect, effects_of
from nnunet_attention.evaluation.ablation.verdicts import (
    default_margin,
    gate_in_words,
    verdicts_of,
)
from nnunet_attention.evaluation.statistics.comparisons import summarise_and_compare
from nnunet_attention.evaluation.statistics.estimates import over_units

MARGIN = 0.005


def verdicts_on(*parts: list[dict], metric: str = "dice", margin: float = MARGIN):
    return verdicts_of(corrected(effects_of(table_of(*parts)))[0], metric, margin)


def effect_of(differences: np.ndarray, random: np.ndarray | None = None) -> Effect:
    """An effect as if it were the only one tested; few resamples, as no interval is read."""

    def compared(values):
        pair = np.stack([values, np.zeros_like(values)])
        return summarise_and_compare(pair, True, 0, resamples=9)[1][0, 1]

    beyond = None if random is None else differences - random
    found = compared(differences)
    found_beyond = None if beyond is None else compared(beyond)
    return Effect(
        *("0", "mean", "organ", "dice", len(differences), 0, 0, 0.8),
        *(found, over_units(differences), found.p_value, 0.1, 0, 0),
        beyond_random=found_beyond,
        beyond_random_estimate=None if beyond is None else over_units(beyond),
        beyond_random_p_value=None if found_beyond is None else found_beyond.p_value,
    )


def share_of(kind: str, effects: list[Effect]) -> float:
    return np.mean([verdicts_of([one], "dice", MARGIN)[0].kind == kind for one in effects])


@pytest.mark.parametrize(
    ("trained", "random", "kind", "words"),
    [
        (LOSS, None, "matters", "gate 0 matters by \N{MINUS SIGN}0.05"),
        ([-x for x in LOSS], None, "harms", "gate 0 harms organ: replaced, it gives +0.05"),
        (NOTHING, None, "idle", "gate 0 is idle for organ: "),
        (WIDE, None, "undecided", "gate 0 is undecided for organ: "),
        (
            LOSS,
            LOSS,
            "idle",
            "organ: replaced, it costs hardly more than with random weights of one draw",
        ),
        (LOSS, [x / 2 for x in LOSS], "matters", "gate 0 matters by"),
        (LOSS, [x + y for x, y in zip(LOSS, WIDE, strict=True)], "undecided", "beyond random"),
    ],
)
def test_a_verdict_says_whether_a_gate_matters(trained, random, kind, words):
    parts = [rows_of({("0", "shuffled"): trained, ("0", "zero"): LOSS})]
    if random is not None:
        given = {("0", "shuffled"): random, ("0", "zero"): LOSS}
        parts.append(rows_of(given, weights="randomised"))
    (verdict,) = verdicts_on(*parts)
    assert verdict.kind == kind
    assert words in verdict.sentence
    shown = "(idle: p " if kind == "idle" else "(p "
    assert f"with its coefficients shuffled {shown}" in verdict.sentence


def test_a_certain_loss_that_is_too_small_to_matter_is_idle():
    tiny = [-0.001 - 0.00001 * number for number in range(30)]
    (verdict,) = verdicts_on(rows_of({("0", "mean"): tiny}))
    assert verdict.effect.adjusted_p_value < 0.001
    assert verdict.kind == "idle"


def test_a_certain_loss_that_is_too_small_to_matter_does_not_make_another_matter():
    tiny = [-0.001 - 0.00001 * number for number in range(12)]
    (verdict,) = verdicts_on(rows_of({("0", "mean"): tiny, ("0", "shuffled"): WIDE}))
    assert verdict.kind == "undecided"
    assert verdict.effect.replacement == "shuffled"
    gained = [-one for one in tiny]
    (verdict,) = verdicts_on(rows_of({("0", "mean"): gained, ("0", "shuffled"): WIDE}))
    assert verdict.kind == "undecided"


@pytest.mark.parametrize("n", [2, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 12))])
def test_an_effect_as_large_as_the_margin_is_rarely_called_idle(n):
    """By chance in 5 % of trials where the spread is small beside the margin."""
    generator = np.random.default_rng(n)
    trials = [effect_of(generator.normal(-MARGIN, MARGIN / 20, n)) for _ in range(1500)]
    # Three standard errors of a share of 5 % are 1.7 %.
    assert 0.033 < share_of("idle", trials) < 0.067


def test_an_extra_loss_that_is_not_found_is_not_called_idle():
    """A loss of .05, of .02 with random gates: an extra loss of .03 in cases that differ by .05."""
    generator = np.random.default_rng(0)
    trials = []
    for _ in range(500):
        random = generator.normal(-0.02, 0.01, 12)
        trials.append(effect_of(random + generator.normal(-0.03, 0.05, 12), random))
    assert share_of("idle", trials) < 0.05
    assert share_of("undecided", trials) > 0.3


@pytest.mark.slow
def test_an_extra_loss_as_large_as_the_margin_is_rarely_called_idle():
    generator = np.random.default_rng(1)
    trials = []
    for _ in range(1500):
        random = generator.normal(-0.02, 0.01, 5)
        trials.append(effect_of(random + generator.normal(-MARGIN, MARGIN / 20, 5), random))
    assert share_of("idle", trials) < 0.05


@pytest.mark.parametrize("kept", [10, 0])
def test_no_gate_is_idle_whose_cases_vanish(kept):
    rows = rows_of({("0", "mean"): [0.0] * 20})
    for row in rows[kept:]:
        row["value"] = row["difference"] = math.nan
    for row in rows:
        row["metric"] = "hd95_mm"
    (verdict,) = verdicts_on(rows, metric="hd95_mm", margin=1)
    assert verdict.kind == "undecided"
    wanted = f"HD95 (mm) is undefined in one of both predictions in {20 - kept} of 20 cases"
    assert verdict.sentence.endswith(wanted)


def test_a_metric_that_is_better_when_lower_is_turned():
    worse = [-one for one in LOSS]
    rows = rows_of({("0", "mean"): worse})
    for row in rows:
        row["metric"] = "hd95_mm"
    (verdict,) = verdicts_on(rows, metric="hd95_mm", margin=0.01)
    assert verdict.kind == "matters"
    # The random gates cost more, so that the trained ones cost no more than they.
    random = [dict(row, weights="randomised", difference=2 * row["difference"]) for row in rows]
    (verdict,) = verdicts_on(rows, random, metric="hd95_mm", margin=0.01)
    assert verdict.kind == "idle"


def test_several_gates_are_spoken_of_as_several():
    first, second = verdicts_on(rows_of({("all", "mean"): LOSS, ("0+1", "mean"): NOTHING}))
    assert first.sentence.startswith("all gates together matter by")
    assert second.sentence.startswith("gates 0 and 1 are idle for organ: ")
    assert gate_in_words("2") == "gate 2"


def test_only_shutting_and_opening_is_no_verdict():
    assert verdicts_on(rows_of({("0", "zero"): LOSS, ("0", "open"): LOSS})) == ()


def test_there_is_a_margin_only_for_metrics_whose_best_value_is_1():
    assert default_margin("nsd") == default_margin("dice") == MARGIN
    for metric in ("hd95_mm", "assd_mm", "volume_difference"):
        with pytest.raises(CommandError, match=f"--margin is needed, .* about {metric}"):
            default_margin(metric)


def test_nothing_is_said_where_most_cases_gain_and_the_mean_loses():
    # Three cases of 30 lose their organ; the ranks favour the replacement, the mean does not.
    differences = np.array([0.01 + 0.0001 * number for number in range(27)] + [-0.5] * 3)
    effect = effect_of(differences)
    assert effect.adjusted_p_value < 0.05
    assert effect.gain < 0 < effect.comparison.effect_size
    (verdict,) = verdicts_of([effect], "dice", MARGIN)
    assert verdict.kind == "undecided"
    assert verdict.sentence.endswith(", but mean and ranks disagree")
