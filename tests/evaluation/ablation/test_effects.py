"""Effects and curves of tables whose answers are known."""

import math

import numpy as np
import pytest
from ablations import LOSS, NOTHING, curve_table, rows_of, table_of
from scipy import stats

from nnunet_attention.evaluation.ablation.correcting import corrected
from nnunet_attention.evaluation.ablation.curves import curves_of
from nnunet_attention.evaluation.ablation.effects import effects_of
from nnunet_attention.evaluation.ablation.rows import case_rows
from nnunet_attention.evaluation.metrics.labels import LabelScheme


def test_differences_are_tested_over_cases_and_corrected_for_all():
    table = table_of(rows_of({("0", "mean"): LOSS, ("0", "open"): NOTHING}))
    (first, second), _ = corrected(effects_of(table))
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


def test_what_is_undefined_in_one_prediction_only_is_counted_even_if_no_case_is_left():
    rows = rows_of({("0", "mean"): [math.nan, math.nan], ("0", "zero"): [math.nan, math.nan]})
    for row in rows[:2]:
        row["value"] = math.nan
    for row in rows[2:]:
        row["value"] = row["ordinary"] = math.nan
    # Where both predictions lack it, there is nothing to tell.
    (effect,) = effects_of(table_of(rows))
    assert (effect.replacement, effect.cases, effect.left_out) == ("mean", 0, 2)
    assert effect.in_one_only == 2
    assert effect.comparison.n == 0
    assert effect.estimate is None


def test_a_label_that_vanishes_counts_for_the_mean_of_labels_too():
    found = {("0", "mean"): [-0.01, -0.02, -0.03]}
    rows = [*rows_of(found), *rows_of(found), *rows_of(found)]
    for row in rows[3:6]:
        row["label"] = "other"
    for row in rows[6:]:
        row["label"] = "mean of labels"
    rows[4]["value"] = rows[4]["difference"] = math.nan
    counts = {effect.label: effect.in_one_only for effect in effects_of(table_of(rows))}
    assert counts == {"organ": 0, "other": 1, "mean of labels": 1}


def test_the_estimate_is_that_of_the_paired_t_test():
    (effect,) = effects_of(table_of(rows_of({("0", "mean"): LOSS})))
    wanted = stats.ttest_1samp(LOSS, 0).pvalue
    assert effect.estimate.p_value == pytest.approx(wanted)


def test_all_means_are_over_groups():
    """Four cases of patient a, one of patient b."""
    rows = rows_of({("0", "mean"): [-0.1, -0.1, -0.1, -0.1, -0.3]})
    for number, row in enumerate(rows):
        row["ordinary"] = 0.9 if number < 4 else 0.5
        row["value"] = row["ordinary"] + row["difference"]
        row["changed_share"] = 0.1 if number < 4 else 0.5
        row["false_positives_gained"] = 100 if number < 4 else 0
        row["false_negatives_gained"] = 2 if number < 4 else 6
    groups = {f"case_{number:02d}": "a" if number < 4 else "b" for number in range(5)}
    (effect,) = effects_of(table_of(rows), groups)
    assert effect.comparison.n == 2
    assert effect.comparison.mean_difference == pytest.approx(-0.2)
    assert effect.ordinary == pytest.approx(0.7)
    assert effect.changed_share == pytest.approx(0.3)
    assert effect.false_positives_gained == pytest.approx(50)
    assert effect.false_negatives_gained == pytest.approx(4)
    assert effect.estimate.degrees_of_freedom == 1


def test_one_correction_covers_effects_and_curves():
    effects = effects_of(
        table_of(
            rows_of({("0", "mean"): LOSS, ("0", "open"): NOTHING}),
            rows_of({("0", "mean"): NOTHING}, weights="randomised"),
        )
    )
    curves = curves_of(curve_table(), "dice")
    raw = [effect.comparison.p_value for effect in effects]
    raw += [effects[0].beyond_random.p_value]
    raw += [area.comparison.p_value for area in curves.areas]
    raw += [found.p_value for found in curves.violations]
    assert len(raw) == 2 + 1 + 4 + 1
    # Holm by its definition.
    order = sorted(range(len(raw)), key=lambda place: raw[place])
    wanted, highest = [0.0] * len(raw), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(raw) - rank) * raw[place]))
        wanted[place] = highest
    effects, curves = corrected(effects, curves)
    found = [effect.adjusted_p_value for effect in effects]
    found += [effects[0].beyond_random_p_value]
    found += [area.adjusted_p_value for area in curves.areas]
    found += [violations.adjusted_p_value for violations in curves.violations]
    assert effects[1].beyond_random_p_value is None
    assert found == pytest.approx(wanted)


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
    (effect,), _ = corrected(effects_of(table))
    assert effect.beyond_random.mean_difference == pytest.approx(0.5 * np.mean(LOSS))
    assert effect.beyond_random_p_value == pytest.approx(4 / 2**12)


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


def test_curves_that_are_nowhere_defined_give_no_areas():
    table = curve_table()
    table.loc[(table["share"] == 1) & (table["direction"] == "deletion"), "value"] = math.nan
    curves = curves_of(table, "hd95_mm")
    assert (curves.areas, curves.violations) == ((), ())
    assert curves.means.empty
    assert list(curves.means.groupby(["gate", "direction"])) == []
