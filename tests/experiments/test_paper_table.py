import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from leaderboards import TRICKY, frame_of, small_settings
from rich.console import Console
from scipy.stats import bootstrap, wilcoxon

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.costs import Cost
from nnunet_attention.evaluation.leaderboard.tables import DASH
from nnunet_attention.experiments.paper_table import (
    PAPER_METRICS,
    Layout,
    PaperTable,
    as_latex,
    as_markdown,
    print_paper_table,
    write_paper_table,
)

PLAIN = [0.50, 0.52, 0.54, 0.56, 0.58, 0.60, 0.62, 0.64, 0.66, 0.68]
GAINS = [0.010, 0.021, 0.032, 0.043, 0.054, 0.065, 0.076, 0.087, 0.098, 0.109]
BETTER = [value + gain for value, gain in zip(PLAIN, GAINS, strict=True)]
WORSE = [value - gain for value, gain in zip(PLAIN, GAINS, strict=True)]


def table_of(dice: dict, methods_in_columns: bool = False, settings=None, costs=None, controls=()):
    """Every metric is Dice's, but distances are 10 mm for Dice 0 and 0 mm for 1."""
    frame = frame_of(dice)
    frames = [frame.assign(metric=name) for name in PAPER_METRICS[:3]]
    distances = frame.assign(metric="assd_mm", value=10 * (1 - frame["value"]))
    board = build_leaderboard(
        pd.concat([*frames, distances], ignore_index=True),
        small_settings(metrics=PAPER_METRICS),
        costs,
    )
    settings = settings or {name: name for name in board.datasets}
    layout = Layout("The experiment", settings, "U-Net", methods_in_columns, controls)
    return PaperTable(board, layout)


@pytest.fixture
def transfer():
    costs = {
        ("before", "3d_fullres", "Attention"): Cost(6_400_000, None, None),
        ("after", "3d_fullres", "U-Net"): Cost(5_880_000, 1.0, 0.167),
        ("after", "3d_fullres", "Attention"): Cost(6_400_000, 1.0, 0.179),
    }
    return table_of(
        {
            ("before", "pancreas"): {"U-Net": PLAIN, "Attention": WORSE},
            ("after", "pancreas"): {"U-Net": PLAIN, "Attention": BETTER},
        },
        settings={"before": "BFT", "after": "AFT", "scratch": "SCR"},
        costs=costs,
    )


def texts(grid) -> list[list[str]]:
    return [
        [cell.text + (f"±{cell.spread}" if cell.spread else "") for cell in row]
        for row in grid.rows
    ]


def test_settings_and_methods_stand_in_rows_and_metrics_in_columns(transfer):
    (grid,) = transfer.grids()
    assert grid.heading == (
        *("Setting", "Method", "Dice", "Precision", "Recall", "S2S distance (mm)"),
        *("Parameters", "Inference (s)"),
    )
    rows = texts(grid)
    assert [row[:2] for row in rows] == [
        ["BFT", "U-Net"], ["", "Attention"], ["AFT", "U-Net"], ["", "Attention"],
    ]  # fmt: skip
    # Mean 0.59; deviations 0.01, 0.03, ... 0.09 twice: variance 0.033 / 9.
    assert rows[0][2] == "0.590±0.061"
    assert rows[0][5] == "4.10±0.61"
    assert rows[3][6:] == ["6.40 M", "0.18"]
    assert grid.groups == {0, 2}


def test_parameters_of_a_method_hold_in_settings_that_do_not_know_them(transfer):
    rows = texts(transfer.grids()[0])
    assert [row[6] for row in rows] == ["5.88 M", "6.40 M", "5.88 M", "6.40 M"]
    assert rows[0][7] == DASH


def test_only_what_is_significantly_better_is_bold(transfer):
    bold = [[cell.bold for cell in row[2:6]] for row in transfer.grids()[0].rows]
    assert bold == [[False] * 4, [False] * 4, [False] * 4, [True] * 4]


def test_nothing_is_bold_where_the_test_favours_the_other_by_ranks():
    # Worse by 0.001 to 0.011 and better by 0.15 once: the mean is 0.007 better, and of the 4096
    # ways to give 12 ranks signs, 140 are as extreme; no other setting's p-value is corrected for.
    plain = [0.5 + 0.02 * place for place in range(12)]
    gains = [*(-0.001 * place for place in range(1, 12)), 0.15]
    mixed = [value + gain for value, gain in zip(plain, gains, strict=True)]
    table = table_of({("one", "pancreas"): {"U-Net": plain, "Attention": mixed}})
    value = table.value("one", "pancreas", "dice", "Attention")
    assert value.adjusted_p_value == pytest.approx(140 / 4096)
    assert value.comparison.mean_difference > 0
    assert not value.is_better


def test_p_values_are_those_of_wilcoxon_corrected_for_both_settings(transfer):
    raw = wilcoxon(GAINS).pvalue
    value = transfer.value("after", "pancreas", "dice", "Attention")
    assert value.comparison.p_value == pytest.approx(raw)
    assert value.adjusted_p_value == pytest.approx(2 * raw)
    assert value.comparison.mean_difference == pytest.approx(sum(GAINS) / 10)
    assert (value.comparison.wins, value.comparison.losses) == (10, 0)
    distance = transfer.value("after", "pancreas", "assd_mm", "Attention")
    assert distance.comparison.mean_difference == pytest.approx(-sum(GAINS))
    assert transfer.value("after", "pancreas", "dice", "U-Net").comparison is None
    assert texts(transfer.p_values()) == [
        ["BFT", "pancreas", "Attention", "10", *["0.002 (0.004)"] * 4],
        ["AFT", "pancreas", "Attention", "10", *["0.002 (0.004)"] * 4],
    ]


def test_differences_have_intervals_that_the_bootstrap_gives(transfer):
    (grid,) = transfer.differences()
    assert grid.title == "Differences from U-Net: mean and 95 % interval"
    names = [row[:4] for row in texts(grid)]
    assert names == [[setting, "pancreas", "Attention", "10"] for setting in ("BFT", "AFT")]
    worse, better = (row[4:] for row in texts(grid))
    interval = bootstrap((GAINS,), np.mean, rng=np.random.default_rng(1)).confidence_interval
    mean, *ends = re.findall(r"[0-9.]+", better[0])
    assert mean == "0.060"  # 0.595 / 10 = 0.0595
    # Of 99 resamples only.
    assert [float(end) for end in ends] == pytest.approx(list(interval), abs=0.005)
    assert re.fullmatch(r"\+0\.060 \[\+0\.0\d\d, \+0\.0\d\d\]", better[0])
    # Distances are ten times as large, 0.595 mm, and better where they are less.
    assert re.match("\N{MINUS SIGN}0.(59|60) \\[\N{MINUS SIGN}0.", better[3])
    assert worse[0].startswith("\N{MINUS SIGN}0.060 [")
    assert "Intervals: bootstrap over cases." in transfer.caption()


def test_methods_are_compared_with_a_control_too():
    dice = {("One", "a"): {"U-Net": PLAIN, "Tuned": WORSE, "Gated": BETTER}}
    table = table_of(dice, controls=("Tuned",))
    _, control = table.differences()
    assert control.title == "Differences from Tuned: mean and 95 % interval"
    ((*names, difference, _, _, _),) = texts(control)
    assert names[:3] == ["One", "a", "Gated"]
    assert difference.startswith("+0.119 [")
    gated = table.record()["results"][2]
    assert gated["method"] == "Gated"
    told = gated["labels"]["a"]["dice"]["against_controls"]["Tuned"]
    assert told["mean_difference"] == pytest.approx(2 * sum(GAINS) / 10)
    assert told["low"] < 0.119 < told["high"]


def test_methods_in_columns_have_a_group_of_rows_for_each_label():
    dice = {
        (setting, label): {"U-Net": PLAIN, "Attention": BETTER}
        for setting in ("large", "small")
        for label in ("pancreas", "spleen")
    }
    table = table_of(dice, True, {"large": "120/30", "small": "30/120"})
    (grid,) = table.grids()
    assert grid.heading[2:] == (
        "U-Net (120/30)", "Attention (120/30)", "U-Net (30/120)", "Attention (30/120)",
    )  # fmt: skip
    names = [(row[0].text, row[1].text) for row in grid.rows]
    assert names[:5] == [
        ("mean of labels", "Dice"), ("", "Precision"), ("", "Recall"), ("", "S2S distance (mm)"),
        ("pancreas", "Dice"),
    ]  # fmt: skip
    assert names[-2:] == [("", "Parameters"), ("", "Inference (s)")]
    assert grid.groups == {0, 4, 8, 12}


def test_several_labels_in_rows_make_a_table_each():
    dice = {("One", label): {"U-Net": PLAIN, "Wide": WORSE} for label in ("a", "b")}
    titles = [grid.title for grid in table_of(dice).grids()]
    assert titles == [f"The experiment: {label}" for label in ("mean of labels", "a", "b")]
    assert table_of(dice).grids()[0].heading[0] == "Method", "one setting needs no column"


def test_method_without_results_in_a_setting_is_left_out_there():
    dice = {
        ("One", "a"): {"U-Net": PLAIN, "Wide": WORSE},
        ("Two", "a"): {"U-Net": PLAIN},
    }
    rows = texts(table_of(dice).grids()[0])
    assert [row[:2] for row in rows] == [["One", "U-Net"], ["", "Wide"], ["Two", "U-Net"]]


def test_single_case_has_neither_spread_nor_significance():
    table = table_of({("One", "a"): {"U-Net": [0.5], "Wide": [0.6]}})
    cells = table.grids()[0].rows[1]
    assert (cells[1].text, cells[1].spread, cells[1].bold) == ("0.600", "", False)


def test_baseline_alone_has_no_p_values():
    assert table_of({("One", "a"): {"U-Net": PLAIN}}).p_values() is None


def test_files_hold_the_same_numbers(transfer, tmp_path):
    paths = write_paper_table(transfer, tmp_path / "new")
    assert [path.name for path in paths] == ["table.json", "table.md", "table.tex"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(
        path.name for path in paths
    )
    record = json.loads(paths[0].read_text())
    (result,) = [
        one
        for one in record["results"]
        if (one["setting"], one["method"]) == ("after", "Attention")
    ]
    assert result["labels"]["pancreas"]["dice"]["mean"] == pytest.approx(sum(BETTER) / 10)
    assert result["labels"]["pancreas"]["dice"]["significantly_better"] is True
    assert result["parameters"] == 6_400_000
    assert "| AFT | U-Net | 0.590 ± 0.061 |" in paths[1].read_text(encoding="utf-8")
    assert "AFT & U-Net & $0.590 \\pm 0.061$ &" in paths[2].read_text(encoding="utf-8")
    assert "$\\mathbf{0.649} \\pm" in paths[2].read_text(encoding="utf-8")


def test_names_with_special_characters_do_not_break_the_formats():
    table = table_of({("One", TRICKY): {"U-Net": PLAIN, TRICKY: BETTER}})
    rows = [line for line in as_markdown(table).splitlines() if line.startswith("|")]
    unescaped = [line.replace("\\|", "").count("|") for line in rows]
    assert len(set(unescaped[:4])) == 1
    assert "\\_b \\&" in as_latex(table)


def test_terminal_shows_the_table(transfer):
    console = Console(record=True, width=140, file=io.StringIO())
    print_paper_table(transfer, console)
    shown = console.export_text()
    assert "0.590 ± 0.061" in shown
    assert "p-values against U-Net" in shown


def test_folder_that_cannot_be_written_is_named(transfer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        write_paper_table(transfer, tmp_path / "file")


@pytest.fixture
def repeated():
    """Two trainings of each method; the second of the second method is 0.01 better."""
    first = frame_of({("One", "a"): {"U-Net": PLAIN, "Attention": BETTER}})
    second = frame_of(
        {("One", "a"): {"U-Net": PLAIN, "Attention": [value + 0.01 for value in BETTER]}}
    )
    frame = pd.concat([first.assign(repeat=0), second.assign(repeat=1)], ignore_index=True)
    groups = {case: f"patient {case[-1]}" for case in frame["case"]}
    groups["One_001"] = "patient 0"
    board = build_leaderboard(frame, small_settings(groups=groups))
    return PaperTable(board, Layout("The experiment", {"One": "One"}, "U-Net"))


def test_trainings_and_patients_are_told_in_caption_and_tables(repeated):
    assert repeated.caption().startswith(
        "Mean and standard deviation over groups, each by the mean of its cases, of means over 2 "
        "trainings. Bold: significantly better than U-Net (p < 0.05; t test over trainings and "
        "groups on the same groups, corrected by Holm's"
    )
    assert repeated.caption().endswith(" Intervals: bootstrap over groups and trainings.")
    assert repeated.p_values().heading[3] == "n (cases)"
    assert repeated.p_values().rows[0][3].text == "9 (10)"
    spreads = repeated.spreads()
    assert spreads.title == "SD between the means of trainings (between groups)"
    # Means 0.01 apart: 0.01 / sqrt(2).
    assert [row[4].text.partition(" ")[0] for row in spreads.rows] == ["0.0000", "0.0071"]


def test_a_difference_over_trainings_has_the_method_first(repeated):
    value = repeated.value("One", "a", "dice", "Attention")
    assert value.comparison.mean_difference > 0
    mean_difference = value.repeated_comparison.estimate.mean
    assert mean_difference == pytest.approx(value.comparison.mean_difference)
    assert value.repeated_comparison.low < value.repeated_comparison.high
    (grid,) = repeated.differences()
    ends = (value.repeated_comparison.low, value.repeated_comparison.high)
    assert grid.rows[0][4].text.endswith("[{:+.3f}, {:+.3f}]".format(*ends))
    record = repeated.record()["results"][1]["labels"]["a"]["dice"]
    assert record["trainings"]["repeats"] == [2]
    assert record["against_baseline"]["trainings"]["repeats"] == [2, 2]


def test_without_repeats_there_is_no_table_of_spreads(transfer):
    assert transfer.spreads() is None
    assert "Mean and standard deviation over cases. Bold" in transfer.caption()
    assert transfer.caption().endswith(
        "One training each: p-values hold for other cases, not for other trainings."
    )
