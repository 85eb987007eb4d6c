"""Pairs whose means favour one model, and whose ranks favour the other significantly."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from leaderboards import frame_of, small_leaderboard, small_settings
from rich.console import Console

from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.latex import latex
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.report import report_page
from nnunet_attention.evaluation.leaderboard.report.data import page_data
from nnunet_attention.evaluation.leaderboard.tables import assessment_table, main_table
from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard

DATASET = ("Dataset001_One", "x")
# B is better in 11 cases, by 0.001 to 0.011, and worse in one by 0.15: the mean of A is better by
# 0.007. The one has rank 12 of 78, so r is (12 - 66) / 78. Of the 4096 ways to give ranks 1 to 12
# signs, 70 have a positive sum of at most 12, so p is 140 / 4096.
GAINS_OF_A = [*(-0.001 * place for place in range(1, 12)), 0.15]
P_VALUE = 140 / 4096
NOTE = "Mean and ranks disagree"


def disagreeing(higher=True, **changes):
    base = np.linspace(0.5, 0.8, 12)
    gains = np.array(GAINS_OF_A) if higher else -np.array(GAINS_OF_A)
    frame = frame_of({DATASET: {"A": list(base + gains), "B": list(base)}})
    metric = "dice" if higher else "assd_mm"
    frame["metric"] = metric
    return build_leaderboard(frame, small_settings(metrics=(metric,), **changes))


@pytest.mark.parametrize("higher", [True, False])
def test_neither_gets_a_mark_or_is_called_better(higher):
    board = disagreeing(higher, marks=True)
    (row,) = board.rows
    (pair,) = row.pairs
    assert pair.comparison.p_value == pytest.approx(P_VALUE)
    assert pair.comparison.effect_size == pytest.approx(-54 / 78)
    assert pair.comparison.mean_difference == pytest.approx(0.007 if higher else -0.007)
    assert [entry.best for entry in row.entries.values()] == [True, False]
    assert [entry.mark for entry in row.entries.values()] == ["", ""]
    (finding,) = re.findall("<li>[^<]*significant[^<]*</li>", report_page(board))
    assert ": mean and ranks of A and B disagree on One" in finding
    assert "better" not in finding


@pytest.mark.parametrize(("margin", "verdict"), [(0.0001, "undecided"), (0.1, "equivalent")])
def test_the_verdict_is_undecided_unless_both_are_equivalent(margin, verdict):
    board = disagreeing(margin=margin)
    assert board.rows[0].pairs[0].assessment.verdict == verdict
    (row,) = assessment_table(board, "dice").texts
    reason = " (mean and ranks disagree)" if verdict == "undecided" else ""
    assert row[3] == f"{verdict}{reason}"


def test_every_output_says_so(tmp_path):
    board = disagreeing(marks=True)
    write_leaderboard(board, tmp_path)
    for ending in ("md", "tex", "html"):
        text = (tmp_path / f"leaderboard.{ending}").read_text(encoding="utf-8")
        assert NOTE in text
        assert "In 1 comparison mean and ranks disagreed" in text
    assert "A -- B on One, x" in latex(board)
    console = Console(width=200, file=io.StringIO())
    print_leaderboard(board, console)
    assert NOTE in console.file.getvalue()
    record = json.loads((tmp_path / "leaderboard.json").read_text())
    assert record["rows"][0]["comparisons"][0]["mean_and_ranks_disagree"] is True
    assert "In 1 comparison" in record["methods"][3]
    assert page_data(board)["rows"][0]["pairs"][0]["disagree"] is True


def test_only_the_first_of_many_are_named():
    base = np.linspace(0.5, 0.8, 12)
    dice = {
        (f"Dataset{number:03}_{name}", "x"): {"A": list(base + GAINS_OF_A), "B": list(base)}
        for number, name in enumerate(("One", "Two", "Six", "Ten", "Old", "New"), 1)
    }
    # Holm multiplies each p-value by 6, which leaves none below 0.05; with 30 cases all are.
    board = build_leaderboard(frame_of(dice), small_settings())
    assert board.disagreements() == []
    more = np.array([*(-0.001 * place for place in range(1, 30)), 0.5])
    base = np.linspace(0.4, 0.5, 30)
    dice = {key: {"A": list(base + more), "B": list(base)} for key in dice}
    notes = main_table(build_leaderboard(frame_of(dice), small_settings()), "dice").notes
    assert notes[1].endswith("A \N{EN DASH} B on Ten, x; and 2 more.")


def test_where_they_agree_or_nothing_is_significant_nothing_is_said():
    slightly = frame_of({DATASET: {"A": [0.51, 0.61, 0.71, 0.5], "B": [0.5, 0.6, 0.7, 0.8]}})
    for board in (
        build_leaderboard(slightly, small_settings(marks=True)),
        small_leaderboard(marks=True, margin=0.01),
    ):
        assert board.disagreements() == []
        assert len(main_table(board, "dice").notes) == 1
        assert "disagree" not in latex(board)
        assert "disagree" not in json.dumps(leaderboard_record(board))
        assert "disagree" not in " ".join(methods_paragraphs(board))
        assert "disagree" not in json.dumps(page_data(board))


@pytest.mark.parametrize("metric", ["dice", "assd_mm"])
def test_over_trainings_the_mean_tells_the_direction(metric):
    # In 30 of 40 cases B is better by 0.001, in 10 A by 0.3; both trainings alike, so the t test
    # sees the cases: mean 0.0743, SD 0.132, t = 3.6 with 39 degrees of freedom.
    sign = 1 if metric == "dice" else -1
    gains = sign * np.array([-0.001] * 30 + [0.3] * 10)
    base = np.linspace(0.4, 0.6, 40)
    parts = [
        frame_of({DATASET: {"A": list(base + gains + by), "B": list(base + by)}}).assign(repeat=n)
        for n, by in enumerate((0.0, 0.00001))
    ]
    frame = pd.concat(parts, ignore_index=True).assign(metric=metric)
    board = build_leaderboard(frame, small_settings(metrics=(metric,)))
    (pair,) = board.rows[0].pairs
    assert pair.comparison.effect_size < 0
    assert pair.adjusted_p_value < 0.01
    assert not pair.ranks_disagree
    assert board.rows[0].entries["B"].mark == "**"
    assert re.findall(": ([AB]) better on One", report_page(board)) == ["A"]


def test_the_forest_leaves_such_a_difference_hollow(browser, tmp_path):
    write_leaderboard(disagreeing(marks=True), tmp_path)
    page = browser.open(tmp_path / "leaderboard.html")
    assert page.locator("#forest path[fill='#fff']").count() == 1
    assert "*" not in page.locator("#forest").text_content()
    assert (
        "Hollow, too, where mean and ranks disagree" in page.locator("#forest-text").text_content()
    )
    page.locator("#forest rect.row").first.hover()
    assert (
        "mean and ranks disagree, so neither is called better"
        in page.locator("#tip").text_content()
    )
