"""Leaderboards of models that were trained several times compare trainings and cases."""

import io

import numpy as np
import pandas as pd
import pytest
from leaderboards import frame_of, small_leaderboard, small_settings
from rich.console import Console
from scipy import stats

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.latex import latex
from nnunet_attention.evaluation.leaderboard.markdown import markdown
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.tables import (
    main_table,
    trainings_table,
    trainings_words,
    undefined_table,
)
from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard

NAN = float("nan")
DATASET = ("Dataset001_One", "x")


def trained(values: dict[str, list[list[float]]], fold: int | None = None) -> pd.DataFrame:
    """A table of models with the Dice of their trainings' cases."""
    parts = [
        frame_of({DATASET: {model: cases}}).assign(repeat=number)
        for model, trainings in values.items()
        for number, cases in enumerate(trainings)
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame if fold is None else frame.assign(fold=fold)


def three_trainings(shift: float = 0.02, cases: int = 12) -> dict[str, list[list[float]]]:
    generator = np.random.default_rng(3)
    base = generator.uniform(0.6, 0.8, cases)
    return {
        model: [
            list(base + by + generator.normal(0, 0.004) + generator.normal(0, 0.01, cases))
            for _ in range(3)
        ]
        for model, by in (("A", shift), ("B", 0.0))
    }


def test_means_and_spreads_by_hand():
    values = {"A": [[0.5, 0.7], [0.6, 0.8]], "B": [[0.5, 0.5], [0.5, 0.5]]}
    (row,) = build_leaderboard(trained(values), small_settings()).rows
    # Trainings 0.6 and 0.7: mean 0.65, SD 0.1 / sqrt(2); cases 0.55 and 0.75, SD 0.2 / sqrt(2).
    entry = row.entries["A"]
    assert entry.summary.mean == pytest.approx(0.65)
    assert entry.repeated.training_means == pytest.approx((0.6, 0.7))
    assert entry.repeated.training_sd == pytest.approx(0.1 / 2**0.5)
    assert entry.repeated.unit_sd == entry.summary.sd == pytest.approx(0.2 / 2**0.5)
    np.testing.assert_allclose(row.values, [[0.55, 0.75], [0.5, 0.5]])


def test_paired_trainings_without_case_effects_give_the_paired_t_test():
    # Each training shifts all cases alike, in one fold: the trainings' means are all there is.
    shifts = {"A": [0.01, 0.03, 0.05], "B": [0.0, 0.005, 0.01]}
    base = np.array([0.5, 0.6, 0.7, 0.8])
    values = {model: [list(base + by) for by in of_model] for model, of_model in shifts.items()}
    board = build_leaderboard(trained(values, fold=0), small_settings(paired_repeats=True))
    (pair,) = board.rows[0].pairs
    expected = stats.ttest_rel(shifts["A"], shifts["B"]).pvalue
    assert pair.comparison.p_value == pytest.approx(expected, rel=1e-6)
    assert pair.repeated.paired
    assert pair.repeated.repeats == (3,)


def test_trainings_are_paired_by_their_numbers_whatever_the_order_of_rows():
    values = {"A": [[0.5, 0.7], [0.6, 0.9]], "B": [[0.4, 0.5], [0.3, 0.6]]}
    frame = trained(values).assign(repeat=lambda rows: 2 * rows["repeat"])
    turned = pd.concat([frame[frame["model"] == "A"], frame[frame["model"] == "B"][::-1]])
    board = build_leaderboard(turned, small_settings(paired_repeats=True))
    # (0.1 + 0.2) / 2 and (0.3 + 0.3) / 2.
    means = board.rows[0].pairs[0].repeated.training_means
    assert means == pytest.approx((0.15, 0.3))


def test_unpaired_trainings_without_case_effects_give_welchs_t_test():
    shifts = {"A": [0.01, 0.03, 0.05], "B": [0.0, 0.005]}
    base = np.array([0.5, 0.6, 0.7, 0.8])
    values = {model: [list(base + by) for by in of_model] for model, of_model in shifts.items()}
    (pair,) = build_leaderboard(trained(values, fold=0), small_settings()).rows[0].pairs
    expected = stats.ttest_ind(shifts["A"], shifts["B"], equal_var=False).pvalue
    assert pair.comparison.p_value == pytest.approx(expected, rel=1e-6)
    assert pair.repeated.repeats == (3, 2)


def test_chance_of_trainings_takes_away_what_cases_alone_make_significant():
    # In every case A is .02 better, but its two trainings are .03 apart.
    base = np.linspace(0.5, 0.8, 20)
    values = {"A": [list(base + 0.005), list(base + 0.035)], "B": [list(base), list(base + 0.001)]}
    board = build_leaderboard(trained(values, fold=0), small_settings())
    (pair,) = board.rows[0].pairs
    assert pair.comparison.wins == 20
    assert pair.comparison.p_value > 0.2
    assert board.rows[0].entries["B"].mark == ""


def test_a_case_counts_where_all_trainings_of_all_models_define_it():
    values = {"A": [[0.5, 0.6, NAN], [0.5, 0.6, 0.7]], "B": [[0.4, 0.5, 0.6], [0.4, NAN, 0.6]]}
    board = build_leaderboard(trained(values), small_settings())
    (row,) = board.rows
    assert row.cases == ("One_000",)
    used = board.cases.dropna(subset="used")
    assert set(used["case"]) == {"One_000"}
    assert len(used) == 4
    # Six values of each model, one of them undefined.
    assert list(board.undefined["cases"]) == [6, 6]
    assert undefined_table(board, "dice").texts == [
        ["One", "x", "1 of 3", "1/0/0, 1 left out", "1/0/0, 1 left out"]
    ]


def test_nnunets_means_are_means_over_trainings():
    values = {"A": [[0.5, 0.7], [0.7, 0.9]]}
    board = build_leaderboard(trained(values), small_settings())
    assert board.fold_means["Dataset001_One"]["dice"]["A"] == pytest.approx(0.7)


def test_one_training_each_is_said_and_sets_no_marks():
    board = small_leaderboard()
    assert board.rows[0].entries["C"].mark == "**"
    assert trainings_words(board) == "one training each"
    grid = main_table(board, "dice")
    assert grid.title.endswith(", one training each")
    assert grid.mark_widths == [0] * 6
    assert "not for other trainings" in grid.notes[0]
    assert "***" not in latex(board).split("% Methods")[0]
    assert "one training each" in latex(board)
    console = Console(width=100, file=io.StringIO())
    print_leaderboard(board, console)
    assert "one training each" in console.file.getvalue()
    assert "no mark of significance is set" in markdown(board)
    # The record has all numbers and marks, and the words for them.
    record = leaderboard_record(board)
    assert record["rows"][0]["models"]["C"]["mark"] == "**"
    assert "Marks are against" in record["methods"][3]


def test_marks_are_set_on_demand_or_for_several_trainings():
    wanted = small_leaderboard(marks=True)
    assert max(main_table(wanted, "dice").mark_widths) == 2
    assert "Marks are against" in methods_paragraphs(wanted)[3]
    assert leaderboard_record(wanted)["settings"]["marks"] is True
    board = build_leaderboard(trained(three_trainings(0.1)), small_settings())
    assert trainings_words(board) == "means of 3 trainings each"
    assert main_table(board, "dice").rows[0][4].mark == "***"


def test_a_model_that_was_trained_once_gets_no_mark_among_repeats():
    values = three_trainings(0.1)
    values["C"] = [[value - 0.1 for value in values["B"][0]]]
    board = build_leaderboard(trained(values), small_settings())
    assert trainings_words(board) == "trainings: A 3, B 3, C 1"
    marks = [cell.mark for cell in main_table(board, "dice").rows[0][3:]]
    assert marks[1] == "***"
    assert marks[2] == ""
    assert "C was trained once" in methods_paragraphs(board)[3]
    assert [pair.repeated is None for pair in board.rows[0].pairs] == [False, True, True]


def test_every_output_tells_of_trainings(tmp_path):
    board = build_leaderboard(trained(three_trainings()), small_settings())
    ((*names, count, mean, of_trainings, of_cases, _, each),) = (
        row for row in trainings_table(board, "dice").texts if row[2] == "A"
    )
    repeated = board.rows[0].entries["A"].repeated
    assert (names, count, len(each.split())) == (["One", "x", "A"], "3", 3)
    assert float(mean) == pytest.approx(np.mean(repeated.training_means), abs=5e-4)
    assert float(of_trainings) == pytest.approx(np.std(repeated.training_means, ddof=1), abs=5e-5)
    assert float(of_cases) == pytest.approx(repeated.unit_sd, abs=5e-5)
    write_leaderboard(board, tmp_path)
    for ending in ("md", "tex", "html"):
        text = (tmp_path / f"leaderboard.{ending}").read_text(encoding="utf-8")
        assert "SD of trainings" in text
        assert "means of 3 trainings each" in text
    record = leaderboard_record(board)["rows"][0]
    assert record["models"]["A"]["trainings"]["means"] == list(repeated.training_means)
    assert record["comparisons"][0]["trainings"]["repeats"] == [3, 3]
    assert len(pd.read_csv(tmp_path / "leaderboard.csv")) == 2 * 3 * 12
    text = " ".join(methods_paragraphs(board))
    assert {number for number in range(20) if f"[{number}]" in text} == {
        *range(1, 8),
        len(references(board)),
    }


def test_groups_and_trainings_go_together():
    frame = trained(three_trainings())
    groups = {case: f"p{int(case[-3:]) // 2}" for case in frame["case"]}
    (row,) = build_leaderboard(frame, small_settings(groups=groups)).rows
    assert (row.entries["A"].repeated.units, row.entries["A"].repeated.cases) == (6, 12)
    assert row.pairs[0].comparison.n == 6
    assert row.pairs[0].repeated.estimate.mean == pytest.approx(
        row.pairs[0].comparison.mean_difference
    )


def test_trainings_with_different_splits_are_refused():
    frame = trained(three_trainings())
    moved = (frame["repeat"] == 1) & (frame["case"] == "One_004")
    frame.loc[moved, "fold"] = 1
    with pytest.raises(CommandError, match="case One_004 is in folds 0 and 1"):
        build_leaderboard(frame, small_settings())


def test_trainings_with_different_cases_are_named():
    frame = trained(three_trainings())
    lost = (frame["repeat"] == 1) & (frame["case"] == "One_004")
    with pytest.raises(CommandError, match="A, training 1 and A, training 2 have different cases"):
        build_leaderboard(frame[~lost], small_settings())


def test_pairing_needs_the_same_trainings():
    values = three_trainings()
    values["B"].pop()
    told = "A has trainings 1, 2, 3, but B has trainings 1, 2; give both the same"
    with pytest.raises(CommandError, match=told):
        build_leaderboard(trained(values), small_settings(paired_repeats=True))
    frame = trained(three_trainings())
    # As many, but not with the same seeds.
    frame = frame[(frame["repeat"] != 1) | (frame["model"] == "A")]
    frame = frame[(frame["repeat"] != 2) | (frame["model"] == "B")]
    told = "A has trainings 1, 2, but B has trainings 1, 3; give both the same"
    for allowed in (False, True):
        settings = small_settings(paired_repeats=True, allow_incomplete=allowed)
        with pytest.raises(CommandError, match=told):
            build_leaderboard(frame, settings)
    build_leaderboard(frame, small_settings())
    with pytest.raises(CommandError, match="every model was trained once"):
        small_leaderboard(paired_repeats=True)


def two_data_sets() -> pd.DataFrame:
    """Two trainings of both models; on the second data set one of the first model."""
    first = trained({model: values[:2] for model, values in three_trainings().items()})
    second = first.assign(dataset="Dataset002_Two")
    return pd.concat(
        [first, second[(second["model"] == "B") | (second["repeat"] == 0)]], ignore_index=True
    )


def test_a_model_trained_less_often_on_a_data_set_is_told_with_the_number():
    board = build_leaderboard(two_data_sets(), small_settings())
    assert board.trainings == {"A": 2, "B": 2}
    assert board.fewest_trainings == {"A": 1, "B": 2}
    assert trainings_words(board) == "means of 2 trainings each, on Two A 1"
    assert "Where a model was trained once" in main_table(board, "dice").notes[0]
    text = " ".join(methods_paragraphs(board))
    assert "On Two A was trained once: such a p-value" in text
    assert "(2 of A and 2 of B, on Two A 1)" in text
    repeated = [pair.repeated is not None for row in board.rows for pair in row.pairs]
    assert repeated == [True, False]


def test_a_training_that_defines_no_case_leaves_its_model_out_and_not_the_training_alone():
    values = {"A": [[0.5, 0.7, 0.6], [NAN] * 3], "B": [[0.5, 0.5, 0.4], [0.6, 0.4, 0.5]]}
    board = build_leaderboard(trained(values), small_settings())
    (row,) = board.rows
    assert list(row.entries) == ["B"]
    assert row.entries["B"].repeated.repeats == (2,)
    (texts,) = main_table(board, "dice").texts
    assert texts[3] == "\N{EN DASH}"
    (undefined,) = undefined_table(board, "dice").texts
    assert "3 left out" in undefined[3]


def test_copies_of_a_training_are_told():
    values = three_trainings()
    board = build_leaderboard(trained(values), small_settings())
    assert board.copied_trainings() == []
    values["B"][2] = values["B"][0]
    (note,) = build_leaderboard(trained(values), small_settings()).copied_trainings()
    assert note.startswith("Dataset001_One: trainings 1 and 3 of B have equal values")
    assert small_leaderboard().copied_trainings() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0.01}, "--margin would be ignored, as A is the only model"),
        ({"paired_repeats": True, "marks": True}, "--paired-repeats and --marks would be ignored"),
    ],
)
def test_what_compares_models_is_refused_for_a_single_one(changes, message):
    with pytest.raises(CommandError, match=message):
        build_leaderboard(trained({"A": three_trainings()["A"]}), small_settings(**changes))
