"""Effects, verdicts and curves of tables whose answers are known."""

import math

import numpy as np
import pytest
from ablations import LOSS, NOTHING, WIDE, curve_table, rows_of, table_of
from scipy import stats

from nnunet_attention.evaluation.ablation.curves import curves_of
from nnunet_attention.evaluation.ablation.effects import effects_of
from nnunet_attention.evaluation.ablation.rows import case_rows
from nnunet_attention.evaluation.ablation.verdicts import gate_in_words, verdicts_of
from nnunet_attention.evaluation.metrics.labels import LabelScheme


def test_differences_are_tested_over_cases_and_corrected_for_all():
    table = table_of(rows_of({("0", "mean"): LOSS, ("0", "open"): NOTHING}))
    first, second = effects_of(table)
    assert (first.gates, first.replacement, first.label) == ("0", "mean", "organ")
    assert first.cases == 12
    assert first.ordinary == pytest.approx(0.8)
    assert first.comparison.mean_difference == pytest.approx(np.mean(LOSS))
    assert first.comparison.low < np.mean(LOSS) < first.comparison.high < 0
    # All of 12 on one side: 2 / 2^12, and of two tests the smaller doubled.
    assert first.comparison.p_value == pytest.approx(2 / 2**12)
    assert first.adjusted_p_value == pytest.approx(4 / 2**12)
    assert second.adjusted_p_value == pytest.approx(stats.wilcoxon(NOTHING).pvalue)
    assert first.changed_share == 0.25
    assert first.false_positives_gained == 5.5
    assert first.false_negatives_gained == -1
    assert first.gain < 0


def test_undefined_cases_are_left_out_and_counted():
    (effect,) = effects_of(table_of(rows_of({("0", "mean"): [*LOSS, math.nan]})))
    assert (effect.cases, effect.left_out) == (12, 1)


def test_groups_count_once():
    groups = {f"case_{number:02d}": f"patient_{number // 4}" for number in range(12)}
    (effect,) = effects_of(table_of(rows_of({("0", "mean"): LOSS})), groups)
    assert effect.comparison.n == 3
    assert effect.comparison.mean_difference == pytest.approx(np.mean(LOSS))


def test_random_gates_are_subtracted_case_by_case():
    random = [0.5 * loss for loss in LOSS]
    table = table_of(
        rows_of({("0", "mean"): LOSS}),
        rows_of({("0", "mean"): random}, weights="randomised"),
    )
    (effect,) = effects_of(table)
    assert effect.beyond_random.mean_difference == pytest.approx(0.5 * np.mean(LOSS))
    assert effect.beyond_random_p_value == pytest.approx(4 / 2**12)


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
            "is idle for organ: replaced, it costs no more than a random gate does",
        ),
        (LOSS, [x / 2 for x in LOSS], "matters", "gate 0 matters by"),
    ],
)
def test_a_verdict_says_whether_a_gate_matters(trained, random, kind, words):
    parts = [rows_of({("0", "shuffled"): trained, ("0", "zero"): LOSS})]
    if random is not None:
        given = {("0", "shuffled"): random, ("0", "zero"): LOSS}
        parts.append(rows_of(given, weights="randomised"))
    (verdict,) = verdicts_of(effects_of(table_of(*parts)), "dice", 0.005)
    assert verdict.kind == kind
    assert words in verdict.sentence
    assert "with its coefficients shuffled (p " in verdict.sentence


def test_several_gates_are_spoken_of_as_several():
    table = table_of(rows_of({("all", "mean"): LOSS, ("0+1", "mean"): NOTHING}))
    first, second = verdicts_of(effects_of(table), "dice", 0.005)
    assert first.sentence.startswith("all gates together matter by")
    assert second.sentence.startswith("gates 0 and 1 are idle for organ: ")
    assert gate_in_words("2") == "gate 2"


def test_only_shutting_and_opening_is_no_verdict():
    effects = effects_of(table_of(rows_of({("0", "zero"): LOSS, ("0", "open"): LOSS})))
    assert verdicts_of(effects, "dice", 0.005) == ()


def test_rows_of_a_case_are_those_counted_by_hand():
    """Two labels; the second is in neither prediction nor reference."""
    scheme = LabelScheme({1: "a", 2: "b"}, None, ".nii.gz")
    before, after = np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]])
    undefined = {"Dice": math.nan, "FP": 0, "FN": 0}
    metrics = {"1": {"Dice": 0.9, "FP": 3, "FN": 1}, "2": undefined}
    replaced = {"1": {"Dice": 0.7, "FP": 4, "FN": 5}, "2": undefined}
    first, second, mean = case_rows(
        {"case": "x"}, ["dice"], scheme, (before, metrics), (after, replaced)
    )
    assert (first["label"], first["value"], first["ordinary"]) == ("a", 0.7, 0.9)
    assert first["difference"] == pytest.approx(-0.2)
    # Two of four voxels.
    assert first["changed_share"] == 0.5
    assert (first["false_positives_gained"], first["false_negatives_gained"]) == (1, 4)
    assert math.isnan(second["difference"])
    assert second["changed_share"] == 0
    assert mean["label"] == "mean of labels"
    assert mean["difference"] == pytest.approx(-0.2)
    assert mean["changed_share"] == 0.25


def test_areas_lie_between_the_curves():
    curves = curves_of(curve_table(), "dice")
    areas = {(a.direction, a.other): a for a in curves.areas}
    # The curves differ at the share 0.5 alone: half of that difference lies between them.
    wanted = np.mean([(0.6 - (0.2 - 0.01 * case)) / 2 for case in range(6)])
    found = areas["deletion", "random"]
    assert found.comparison.mean_difference == pytest.approx(wanted)
    assert (found.gate, found.label, found.comparison.wins) == (1, "organ", 6)
    cam = areas["deletion", "cam"].comparison
    assert cam.mean_difference == pytest.approx(-0.5 * np.mean([0.1 - 0.01 * c for c in range(6)]))
    assert areas["insertion", "random"].comparison.mean_difference == pytest.approx(0.2)
    assert areas["insertion", "cam"].comparison.mean_difference == 0
    assert areas["insertion", "cam"].comparison.p_value == 1
    assert set(curves.means.columns) >= {"gate", "order", "direction", "share", "label", "value"}


def test_violations_are_cases_that_are_better_when_the_important_is_shut():
    (found,) = curves_of(curve_table(better_when_shut=1), "dice").violations
    assert (found.better, found.worse, found.share) == (1, 5, 0.5)
    # Sign test: 2 * (1 + 6) / 2^6.
    assert found.p_value == pytest.approx(2 * 7 / 64)


def test_a_metric_that_is_better_when_lower_is_turned():
    found = curves_of(curve_table(), "hd95_mm")
    assert all(area.comparison.mean_difference <= 0.05 for area in found.areas)
    assert found.violations[0].better == 6
