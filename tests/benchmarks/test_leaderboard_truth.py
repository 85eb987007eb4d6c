"""The simulation of leaderboards, its committed table, and the committed runs on Hippocampus."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.leaderboard_truth import (
    COVERAGE,
    MOST_FALSE,
    REPEATS,
    Scenario,
    coverage,
    false_marks,
    main,
)
from nnunet_attention.evaluation import read_named_results
from nnunet_attention.evaluation.statistics.equivalence import equivalence, verdict
from nnunet_attention.evaluation.statistics.estimates import over_units
from nnunet_attention.evaluation.statistics.repeats import compare_repeats, mean_over_repeats

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RUNS = BENCHMARKS / "hippocampus" / "results" / "cpu"


def test_the_committed_table_shows_that_the_rule_holds():
    table = json.loads((BENCHMARKS / "results" / "leaderboard_truth.json").read_text())
    assert table["rule_holds"] is True
    rows = table["false_marks"]
    assert {(row["training_sd"], row["cases"]) for row in rows} == {
        (sd, cases) for sd in (0.002, 0.005) for cases in (50, 250)
    }
    for row in rows:
        assert row["leaderboards"] >= 1000
        assert row["false_with_one_training"] > 0.05
        assert row["false_with_repeats"] <= MOST_FALSE
        assert row["false_with_repeats_paired_by_seed"] <= MOST_FALSE
    for row in table["coverage"]:
        assert COVERAGE[0] <= row["interval_over_patients"] <= COVERAGE[1]
        assert row["interval_over_images"] < COVERAGE[0]


def test_a_simulated_difference_varies_as_the_closed_form_has_it():
    scenario = Scenario(training_sd=0.005, cases=50, of_method=0.5)
    generator = np.random.default_rng(0)
    drawn = [
        scenario.method(generator).mean() - scenario.method(generator).mean() for _ in range(4000)
    ]
    planned = scenario.components.planned(scenario.cases, REPEATS)
    assert np.std(drawn) == pytest.approx(planned.standard_error, rel=0.05)


def test_two_images_of_a_patient_share_half_of_the_variance():
    scenario = Scenario(training_sd=0.0, cases=20, of_method=1.0, images_of_a_patient=2)
    drawn = scenario.draw_cases(np.random.default_rng(0), 20_000)
    assert drawn.var() == pytest.approx(1, rel=0.02)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(drawn[:, 1], drawn[:, 2])[0, 1] == pytest.approx(0, abs=0.02)
    # No fold tears a patient.
    layout = scenario.layout
    assert all(len(set(layout.folds[layout.groups == patient])) == 1 for patient in range(10))


def test_rates_are_those_of_their_seed():
    scenario = Scenario(training_sd=0.005, cases=50, of_method=0.0, images_of_a_patient=2)
    rows = [coverage(scenario, 3, np.random.default_rng(1)) for _ in range(2)]
    assert rows[0] == rows[1]
    marks = [false_marks(scenario, 20, np.random.default_rng(1)) for _ in range(2)]
    assert marks[0] == marks[1]


def test_a_short_run_writes_the_table_and_says_whether_the_rule_holds(tmp_path, capsys):
    path = tmp_path / "new" / "table.json"
    code = main(["-o", str(path), "--leaderboards", "2"])
    table = json.loads(path.read_text())
    assert code == (0 if table["rule_holds"] else 1)
    assert [len(table[name]) for name in ("false_marks", "coverage", "power")] == [8, 4, 8]
    assert table["machine"]["kind"]
    assert table["settings"]["seed"] == 0
    told = capsys.readouterr()
    assert "the rule" in told.out
    assert "power 8/8" in told.err


def test_a_run_goes_on_where_it_was_stopped(tmp_path, capsys):
    path = tmp_path / "table.json"
    main(["-o", str(path), "--leaderboards", "1"])
    whole = path.read_text()
    table = json.loads(whole)
    del table["power"][3:], table["rule_holds"]
    path.write_text(json.dumps(table))
    capsys.readouterr()
    main(["-o", str(path), "--leaderboards", "1"])
    assert path.read_text() == whole
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"power {number}/8" for number in range(4, 9)
    ]
    main(["-o", str(path), "--leaderboards", "1", "--seed", "1"])
    assert "starting anew" in capsys.readouterr().err
    assert json.loads(path.read_text())["settings"]["seed"] == 1


def dice(model):
    """(seeds, cases): mean over labels, of the seeds 0 and 1."""
    rows = []
    for seed in (0, 1):
        frame = read_named_results(RUNS / model / f"seed_{seed}", model, None, None, [0])
        frame = frame[frame["metric"] == "dice"]
        rows.append(frame.groupby("case")["value"].mean().sort_index())
    assert rows[0].index.equals(rows[1].index)
    return np.array(rows)


def test_gates_with_he_start_are_worse_and_yet_equivalent_within_a_hundredth():
    differences = dice("he") - dice("stock")
    estimates = [over_units(row) for row in differences]
    assert [f"{estimate.mean:.4f}" for estimate in estimates] == ["-0.0047", "-0.0050"]
    assert all(estimate.p_value < 0.001 for estimate in estimates)
    p_values = [equivalence(estimate, 0.01).p_value for estimate in estimates]
    assert [f"{p_value:.0e}" for p_value in p_values] == ["2e-06", "3e-04"]
    assert [verdict(estimate) for estimate in estimates] == ["worse", "worse"]
    assert [verdict(estimate, 0.01) for estimate in estimates] == ["equivalent", "equivalent"]


def crossed_model(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, its standard error and degrees of freedom, from mean squares added up one by one.

    Searle, Casella, McCulloch, Variance Components, 1992, section 4.4: two random effects and one
    value in each cell; no less than either effect alone would give.
    """
    seeds, cases = values.shape
    mean = sum(map(sum, values)) / (seeds * cases)
    of_seed = [sum(row) / cases for row in values]
    of_case = [sum(column) / seeds for column in values.T]
    left = [
        values[s, c] - of_seed[s] - of_case[c] + mean for s in range(seeds) for c in range(cases)
    ]
    square_seeds = cases * sum((one - mean) ** 2 for one in of_seed) / (seeds - 1)
    square_cases = seeds * sum((one - mean) ** 2 for one in of_case) / (cases - 1)
    square_rest = sum(one**2 for one in left) / ((seeds - 1) * (cases - 1))
    both = square_seeds + square_cases - square_rest
    parts = (
        square_seeds**2 / (seeds - 1)
        + square_cases**2 / (cases - 1)
        + square_rest**2 / ((seeds - 1) * (cases - 1))
    )
    square, freedom = max(
        (both, both**2 / parts), (square_seeds, seeds - 1), (square_cases, cases - 1)
    )
    return mean, (square / (seeds * cases)) ** 0.5, freedom


def test_over_trainings_and_cases_the_committed_runs_differ_as_the_report_has_it():
    ours, stock = dice("he"), dice("stock")
    found = compare_repeats(ours, stock, ((0, 1), (0, 1)), resamples=0).estimate
    mean, standard_error, freedom = crossed_model(ours - stock)
    assert found.mean == pytest.approx(mean)
    drawn = stats.t(freedom, loc=mean, scale=standard_error)
    assert found.interval() == pytest.approx(drawn.interval(0.95))
    # The two one-sided tests: the mean moved to either end of the margin.
    above_lower = stats.t.sf((mean + 0.005) / standard_error, freedom)
    below_upper = stats.t.cdf((mean - 0.005) / standard_error, freedom)
    assert equivalence(found, 0.005).p_value == pytest.approx(max(above_lower, below_upper))


@pytest.mark.parametrize("seed", range(5))
def test_where_one_training_predicts_all_cases_the_test_is_the_crossed_model(seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 1, (3, 12)) + generator.normal(0, 0.5, (3, 1))
    found = mean_over_repeats(values, resamples=0).estimate
    _, standard_error, freedom = crossed_model(values)
    assert found.standard_error == pytest.approx(standard_error)
    assert found.degrees_of_freedom == pytest.approx(freedom)
