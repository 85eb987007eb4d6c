"""Differences against a margin that does not matter."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from leaderboards import frame_of, small_leaderboard, small_settings
from repository import REPOSITORY
from rich.console import Console
from scipy import stats

from nnunet_attention.cli import main
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.tables import assessment_table
from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard

DATASET = ("Dataset001_One", "x")
RUNS = REPOSITORY / "benchmarks" / "hippocampus" / "results" / "cpu"


def board_of(differences, margin=0.01, **changes):
    """Two models apart by these differences."""
    base = np.linspace(0.5, 0.8, len(differences))
    dice = {DATASET: {"A": list(base + differences), "B": list(base)}}
    return build_leaderboard(frame_of(dice), small_settings(margin=margin, **changes))


def assessment_of(board):
    (pair,) = board.rows[0].pairs
    return pair.assessment


def differences(mean: float, cases: int = 20) -> np.ndarray:
    return np.random.default_rng(5).normal(mean, 0.008, cases)


def two_sided_power(difference: float, sd: float, cases: int) -> float:
    critical = stats.t.ppf(0.975, cases - 1)
    away = difference / sd * cases**0.5
    return stats.nct.sf(critical, cases - 1, away) + stats.nct.cdf(-critical, cases - 1, away)


def test_both_one_sided_tests_are_scipys():
    values = differences(-0.004)
    found = assessment_of(board_of(values))
    above = stats.ttest_1samp(values, -0.01, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 0.01, alternative="less").pvalue
    assert found.equivalence.p_lower == pytest.approx(above)
    assert found.equivalence.p_upper == pytest.approx(below)
    assert (found.not_worse_p_value, found.not_better_p_value) == pytest.approx((above, below))
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.equivalence.low, found.equivalence.high) == pytest.approx(tuple(interval))
    assert found.equivalence.smallest_margin == pytest.approx(max(map(abs, interval)))
    # With a flat prior, the one-sided p-value of the t test.
    claim = stats.ttest_1samp(values, 0, alternative="less").pvalue
    assert found.false_claim_probability == pytest.approx(claim)


def test_power_is_that_of_the_t_test():
    values = differences(0.004)
    found = assessment_of(board_of(values))
    sd = values.std(ddof=1)
    assert two_sided_power(found.detectable_difference, sd, 20) == pytest.approx(0.8)
    needed = found.units_needed
    assert two_sided_power(0.01, sd, needed) >= 0.8 > two_sided_power(0.01, sd, needed - 1)
    assert found.trainings_needed is None


@pytest.mark.parametrize(
    ("mean", "margin", "verdict"),
    [
        (-0.004, 0.01, "equivalent"),
        (-0.03, 0.01, "worse"),
        (0.03, 0.01, "better"),
        (0.0, 0.0001, "undecided"),
    ],
)
def test_verdicts(mean, margin, verdict):
    assert assessment_of(board_of(differences(mean), margin)).verdict == verdict


def test_of_groups_their_means_are_assessed():
    values = differences(0.0)
    groups = {f"One_{number:03}": f"p{number // 2}" for number in range(20)}
    found = assessment_of(board_of(values, groups=groups))
    means = values.reshape(10, 2).mean(axis=1)
    above = stats.ttest_1samp(means, -0.01, alternative="greater").pvalue
    assert found.equivalence.p_lower == pytest.approx(above)


def test_every_output_tells_the_verdict(tmp_path):
    board = board_of(differences(-0.004))
    (row,) = assessment_table(board, "dice").texts
    found = assessment_of(board)
    assert row[:4] == ["One", "x", "A \N{EN DASH} B", "equivalent"]
    assert row[4].startswith("\N{MINUS SIGN}0.00")
    told = [float(text.replace("\N{MINUS SIGN}", "-")) for text in row[6:8]]
    p_values = [found.not_worse_p_value, found.not_better_p_value]
    # Three decimals, or a single digit.
    assert told == pytest.approx(p_values, rel=0.34, abs=5e-4)
    write_leaderboard(board, tmp_path)
    for ending in ("md", "tex", "html"):
        text = (tmp_path / f"leaderboard.{ending}").read_text(encoding="utf-8")
        assert "equivalent" in text
        assert "false claim" in text
    record = leaderboard_record(board)
    assert record["settings"]["margin"] == 0.01
    assessment = record["rows"][0]["comparisons"][0]["assessment"]
    assert assessment["verdict"] == "equivalent"
    assert assessment["equivalence"]["p_value"] == found.equivalence.p_value
    console = Console(width=200, file=io.StringIO())
    print_leaderboard(board, console)
    assert "equivalent" in console.file.getvalue()
    text = " ".join(methods_paragraphs(board))
    assert "Differences smaller than 0.01" in text
    count = len(references(board))
    assert f"[{count - 1}]" in text
    assert f"[{count}]" in text


def test_verdicts_on_single_trainings_say_that_they_speak_of_cases():
    board = board_of(differences(-0.03))
    assert "not for other trainings" in assessment_table(board, "dice").notes[0]
    assert "all of these speak of other cases, not of other" in methods_paragraphs(board)[3]
    parts = [
        frame_of({DATASET: {"A": [0.6 + by, 0.7 + by, 0.8], "B": [0.6, 0.7 + by, 0.8]}})
        for by in (0.001, 0.002)
    ]
    frame = pd.concat([part.assign(repeat=n) for n, part in enumerate(parts)], ignore_index=True)
    repeated = build_leaderboard(frame, small_settings(margin=0.05))
    assert "not for other trainings" not in assessment_table(repeated, "dice").notes[0]
    assert "all of these speak" not in methods_paragraphs(repeated)[3]


def test_a_margin_is_for_metrics_whose_best_value_is_one():
    frame = frame_of({DATASET: {"A": [0.5, 0.7, 0.6], "B": [0.4, 0.6, 0.7]}})
    board = build_leaderboard(frame, small_settings(margin=0.01))
    assert board.settings.margin_of("dice") == 0.01
    assert board.settings.margin_of("hd95_mm") is None
    frame["metric"] = "volume_difference"
    with pytest.raises(CommandError, match="would be ignored: it is for metrics whose best"):
        build_leaderboard(frame, small_settings(margin=0.01, metrics=("volume_difference",)))
    for margin in (0, -0.1, 1, float("nan")):
        with pytest.raises(CommandError, match="give a difference between 0 and 1"):
            small_leaderboard(margin=margin)


def test_a_single_case_has_no_verdict():
    board = build_leaderboard(
        frame_of({DATASET: {"A": [0.5], "B": [0.4]}}), small_settings(margin=0.01)
    )
    assert assessment_of(board) is None
    assert assessment_table(board, "dice").rows == ()


def leaderboard(tmp_path, *named):
    """The overall comparison of committed runs, by the command."""
    results = [f"{name}={RUNS / folder}" for name, folder in named]
    arguments = ["-d", "4", "-c", "3d_fullres_batch2", "-f", "0", "--metrics", "dice"]
    output = ["--margin", "0.01", "-o", str(tmp_path)]
    paired = ["--paired-repeats"] if len(named) > 2 else []
    assert main(["leaderboard", *arguments, *output, *paired, "--results", *results]) == 0
    record = json.loads((tmp_path / "leaderboard.json").read_text())
    (comparison,) = next(row for row in record["rows"] if row["is_overall"])["comparisons"]
    return comparison


@pytest.mark.parametrize(
    ("seed", "difference", "p_value"), [(0, "-0.0047", "2e-06"), (1, "-0.0050", "3e-04")]
)
def test_the_committed_runs_differ_significantly_and_are_equivalent(
    seed, difference, p_value, tmp_path
):
    found = leaderboard(tmp_path, ("gates", f"he/seed_{seed}"), ("stock", f"stock/seed_{seed}"))
    assert f"{found['mean_difference']:.4f}" == difference
    assert found["p_value"] < 0.001
    assert f"{found['assessment']['equivalence']['p_value']:.0e}" == p_value
    assert found["assessment"]["verdict"] == "equivalent"


def test_over_both_seeds_the_committed_runs_are_equivalent(tmp_path):
    models = (("gates", "he"), ("stock", "stock"))
    named = [(name, f"{folder}/seed_{seed}") for name, folder in models for seed in (0, 1)]
    found = leaderboard(tmp_path, *named)
    assert found["trainings"]["paired"] is True
    assert f"{found['mean_difference']:.4f}" == "-0.0049"
    assert found["assessment"]["verdict"] == "equivalent"
    # More cases than there are would be needed only if a difference of the margin were too small.
    enough = found["assessment"]["units_needed"] <= found["n"]
    assert enough == (found["assessment"]["detectable_difference"] <= 0.01)


def test_the_page_draws_margin_verdict_and_trainings(browser, tmp_path):
    parts = [
        frame_of({DATASET: {"A": [0.6 + by, 0.7 + by, 0.8], "B": [0.6, 0.7 + by, 0.8]}})
        for by in (0.001, 0.002)
    ]
    frame = pd.concat([part.assign(repeat=n) for n, part in enumerate(parts)], ignore_index=True)
    settings = small_settings(margin=0.05, paired_repeats=True)
    write_leaderboard(build_leaderboard(frame, settings), tmp_path)
    page = browser.open(tmp_path / "leaderboard.html")
    assert page.locator("#forest rect.margin").count() == 1
    assert page.locator("#forest circle.training").count() == 2
    assert page.locator("#violins circle.training").count() == 4
    assert "equivalent" in page.locator("#forest").text_content()
    page.locator("#first").select_option(label="B")
    page.locator("#second").select_option(label="A")
    page.locator("#forest rect.row").first.hover()
    told = page.locator("#tip").text_content()
    assert "B and A: equivalent; 90 % CI" in told
    assert "A, trainings: 0.701, 0.701" in told
