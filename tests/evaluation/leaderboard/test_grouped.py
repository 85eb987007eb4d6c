"""Leaderboards whose cases belong together count each group once."""

import io
import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from leaderboards import frame_of, small_settings
from rich.console import Console
from scipy import stats

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.latex import latex
from nnunet_attention.evaluation.leaderboard.markdown import markdown
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.report.data import page_data
from nnunet_attention.evaluation.leaderboard.tables import main_table, pair_table
from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard

PATIENTS = 8


def two_images_a_patient(seed: int = 0) -> pd.DataFrame:
    """Two models on two labels, two images of each patient and three of the first."""
    generator = np.random.default_rng(seed)
    names = [f"p{n}_f{k}" for n, k in product(range(PATIENTS), range(2))] + ["p0_f2"]
    dice = {
        ("Dataset001_One", label): {
            model: list(generator.uniform(0.5, 0.9, len(names)) + shift)
            for model, shift in (("A", 0.05), ("B", 0.0))
        }
        for label in ("x", "y")
    }
    frame = frame_of(dice)
    of_number = {f"One_{number:03}": name for number, name in enumerate(names)}
    return frame.assign(case=frame["case"].map(of_number))


def groups_of(frame: pd.DataFrame) -> dict[str, str]:
    return {case: case.split("_")[0] for case in frame["case"]}


def grouped_board(frame: pd.DataFrame | None = None, **changes):
    frame = two_images_a_patient() if frame is None else frame
    return build_leaderboard(frame, small_settings(groups=groups_of(frame), **changes))


@pytest.mark.parametrize("label", ["x", "y", "mean of labels"])
def test_the_p_value_is_scipys_on_the_patients_means(label):
    frame = two_images_a_patient()
    row = next(row for row in grouped_board(frame).rows if row.label == label)
    chosen = frame if label == "mean of labels" else frame[frame["label"] == label]
    of_case = chosen.groupby(["model", "case"])["value"].mean().reset_index()
    of_case["patient"] = of_case["case"].str[:2]
    means = of_case.groupby(["model", "patient"])["value"].mean()
    (pair,) = row.pairs
    expected = stats.wilcoxon(means["A"].to_numpy(), means["B"].to_numpy()).pvalue
    assert pair.comparison.p_value == expected
    assert pair.comparison.n == PATIENTS
    assert row.entries["A"].summary.mean == pytest.approx(means["A"].mean(), abs=1e-15)
    assert row.entries["A"].summary.sd == pytest.approx(means["A"].std(ddof=1), abs=1e-15)


def test_means_intervals_and_ranks_by_hand():
    # Patient p has 0.4 and 0.6, q only 0.9: mean of patients 0.7, of images 0.6333.
    dice = {("Dataset001_One", "x"): {"A": [0.4, 0.6, 0.9], "B": [0.8, 0.8, 0.5]}}
    groups = {"One_000": "p", "One_001": "p", "One_002": "q"}
    (row,) = build_leaderboard(frame_of(dice), small_settings(groups=groups)).rows
    assert row.entries["A"].summary.mean == pytest.approx(0.7)
    assert row.entries["B"].summary.mean == pytest.approx(0.65)
    # By images B would be first.
    assert row.entries["A"].best
    assert row.units == ("p", "q")
    assert row.cases == ("One_000", "One_001", "One_002")
    np.testing.assert_allclose(row.values, [[0.4, 0.6, 0.9], [0.8, 0.8, 0.5]])
    assert row.critical.blocks == 2


def test_the_interval_of_few_patients_is_wider_than_that_of_their_images():
    frame = two_images_a_patient()
    # Both images of a patient are alike, so that images tell nothing more.
    frame["value"] = frame.groupby(["model", "label", frame["case"].str[:2]])["value"].transform(
        "mean"
    )
    settings = small_settings(interval_resamples=2000)
    by_images = build_leaderboard(frame, settings).rows[0].pairs[0].comparison
    by_patients = grouped_board(frame, interval_resamples=2000).rows[0].pairs[0].comparison
    ratio = (by_patients.high - by_patients.low) / (by_images.high - by_images.low)
    # Half as many: sqrt(2), and the t distribution's quantile over the normal one.
    assert 1.3 < ratio < 2.2


def test_groups_of_one_case_change_no_test_and_no_rank():
    frame = two_images_a_patient()
    alone = {case: case for case in frame["case"]}
    plain = build_leaderboard(frame, small_settings())
    grouped = build_leaderboard(frame, small_settings(groups=alone))
    for one, other in zip(plain.rows, grouped.rows, strict=True):
        assert one.pairs[0].comparison.p_value == other.pairs[0].comparison.p_value
        for method, standing in one.entries["A"].standings.items():
            assert standing.distribution == other.entries["A"].standings[method].distribution


def test_n_is_told_in_groups_and_cases_everywhere(tmp_path):
    board = grouped_board()
    assert main_table(board, "dice").heading[2] == "n (cases)"
    assert {row[2] for row in main_table(board, "dice").texts} == {"8 (17)"}
    assert {row[3] for row in pair_table(board, "dice").texts} == {"8 (17)"}
    row = leaderboard_record(board)["rows"][0]
    assert (row["groups"], row["cases"], row["models"]["A"]["n"]) == (8, 17, 8)
    assert "formed groups (8 in One)" in methods_paragraphs(board)[0]
    assert "over groups" in methods_paragraphs(board)[3]
    assert "8 (17)" in markdown(board)
    assert "$n$ (cases)" in latex(board)
    assert page_data(board)["rows"][0]["pairs"][0]["n"] == "8 (17)"
    console = Console(width=100, file=io.StringIO())
    print_leaderboard(board, console)
    assert "8 (17)" in console.file.getvalue()
    write_leaderboard(board, tmp_path)
    table = pd.read_csv(tmp_path / "leaderboard.csv")
    assert (table["group"] == table["case"].str[:2]).all()
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert "17 cases in 8 groups" in page
    assert ">8 (17)<" in page
    json.loads((tmp_path / "leaderboard.json").read_text())


def test_a_case_without_a_group_is_named():
    frame = two_images_a_patient()
    groups = groups_of(frame)
    del groups["p3_f1"]
    with pytest.raises(CommandError, match="without a group: p3_f1; give every case"):
        build_leaderboard(frame, small_settings(groups=groups))


def two_data_sets_of_the_same_names() -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """Four cases each, called alike: two patients in the first data set, four in the second."""
    dice = {
        (dataset, "x"): {"A": [0.4, 0.6, 0.8, 0.9], "B": [0.5, 0.5, 0.5, 0.6]}
        for dataset in ("Dataset001_One", "Dataset002_Two")
    }
    frame = frame_of(dice)
    frame["case"] = frame["case"].str[-3:]
    cases = frame["case"].unique()
    groups = {
        "Dataset001_One": dict(zip(cases, "ppqq", strict=True)),
        "Dataset002_Two": dict(zip(cases, "pqrs", strict=True)),
    }
    return frame, groups


def test_each_data_set_has_its_own_groups():
    frame, groups = two_data_sets_of_the_same_names()
    board = build_leaderboard(frame, small_settings(groups=groups))
    first, second = board.rows
    assert first.units == ("p", "q")
    np.testing.assert_allclose(first.of_units, [[0.5, 0.85], [0.5, 0.55]])
    assert second.units == ("p", "q", "r", "s")
    assert "2 in One, 4 in Two" in methods_paragraphs(board)[0]
    assert leaderboard_record(board)["settings"]["groups"] == groups
    of_cases = board.cases.drop_duplicates(["dataset", "case"])
    assert of_cases["group"].tolist() == list("ppqqpqrs")
    assert [data["groups"] for data in page_data(board)["datasets"]] == [
        list("ppqq"),
        list("pqrs"),
    ]


def test_groups_are_recorded_by_case_where_data_sets_agree():
    frame, groups = two_data_sets_of_the_same_names()
    groups["Dataset002_Two"] = groups["Dataset001_One"]
    board = build_leaderboard(frame, small_settings(groups=groups))
    assert leaderboard_record(board)["settings"]["groups"] == groups["Dataset001_One"]


def test_names_that_look_grouped_are_told_unless_groups_are_known():
    frame = two_images_a_patient()
    (likely,) = build_leaderboard(frame, small_settings()).likely_groups().values()
    assert likely.groups == PATIENTS
    assert grouped_board().likely_groups() == {}


def test_a_case_is_shown_with_its_group(browser, tmp_path):
    write_leaderboard(grouped_board(), tmp_path)
    page = browser.open(tmp_path / "leaderboard.html")
    page.locator("#scatter").scroll_into_view_if_needed()
    box = page.locator("#scatter .case").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert ", group p" in page.locator("#tip").text_content()
    assert "Groups of One" in page.locator("#critical-one-text").text_content()
