"""What a leaderboard says, by hand on small tables and as published on real results."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from leaderboards import frame_of, small_leaderboard, small_settings
from scipy import stats
from shared_data import ROOT, needs

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import read_named_results
from nnunet_attention.evaluation.leaderboard.building import (
    MEAN_OF_LABELS,
    Settings,
    build_leaderboard,
    mark_of,
)
from nnunet_attention.evaluation.leaderboard.costs import Cost
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs

REFERENCE = ROOT / "msd_cv_reference"
# Means over folds of the fold means of stock nnU-Net, PlainConvUNet.
PUBLISHED = {
    "BrainTumour": 0.7398, "Heart": 0.9339, "Liver": 0.7945, "Hippocampus": 0.8904,
    "Prostate": 0.7353, "Lung": 0.6833, "Pancreas": 0.6607, "HepaticVessel": 0.6831,
    "Spleen": 0.9666, "Colon": 0.4603,
}  # fmt: skip
NAN = float("nan")
ONE = ("Dataset001_One", "liver")
OTHER = ("Dataset001_One", "tumour")


def rows_by_label(board):
    return {row.label: row for row in board.rows}


def test_a_data_set_with_several_labels_is_represented_by_the_cases_means():
    board = build_leaderboard(
        frame_of({ONE: {"A": [0.8, 0.6]}, OTHER: {"A": [0.2, NAN]}}), small_settings()
    )
    rows = rows_by_label(board)
    assert list(rows) == [MEAN_OF_LABELS, "liver", "tumour"]
    # (0.8 + 0.2) / 2, and 0.6 alone.
    np.testing.assert_allclose(rows[MEAN_OF_LABELS].values, [[0.5, 0.6]])
    assert [row.is_overall for row in board.rows] == [True, False, False]
    assert len(rows["tumour"].cases) == 1


def test_the_only_label_of_a_data_set_represents_it():
    board = build_leaderboard(frame_of({ONE: {"A": [0.8, 0.6]}}), small_settings())
    assert [(row.label, row.is_overall) for row in board.rows] == [("liver", True)]


def test_models_are_compared_on_the_same_cases_whatever_their_order():
    frame = frame_of({ONE: {"A": [0.5, 0.9, NAN, 0.7], "B": [0.4, NAN, 0.8, 0.6]}})
    shuffled = frame.sample(frac=1, random_state=0)
    (row,) = build_leaderboard(shuffled, small_settings()).rows
    assert row.cases == ("One_000", "One_003")
    values = dict(zip(row.entries, row.values.tolist(), strict=True))
    assert values == {"A": [0.5, 0.7], "B": [0.4, 0.6]}


def test_nnunets_own_figure_is_the_mean_over_folds_of_labels_of_nanmeans():
    # Fold 0 holds cases 0 and 2: liver (0.8 + 0.4) / 2, tumour 0.2 alone; mean 0.4. Fold 1: 0.6.
    frame = frame_of({ONE: {"A": [0.8, 0.6, 0.4]}, OTHER: {"A": [0.2, 0.6, NAN]}})
    board = build_leaderboard(frame, small_settings(policy="empty-correct-is-one"))
    assert board.fold_means["Dataset001_One"]["dice"]["A"] == pytest.approx(0.5)


def test_the_best_is_bold_and_the_others_are_marked_by_adjusted_p_values():
    board = small_leaderboard()
    for row in board.rows:
        assert [entry.best for entry in row.entries.values()] == [True, False, False]
        by_models = {(pair.first, pair.second): pair.adjusted_p_value for pair in row.pairs}
        assert row.entries["A"].mark == ""
        assert row.entries["B"].mark == mark_of(by_models["A", "B"])
        assert row.entries["C"].mark == mark_of(by_models["A", "C"]) != ""


@pytest.mark.parametrize(
    ("p_value", "mark"), [(0.0009, "***"), (0.001, "**"), (0.01, "*"), (0.05, "")]
)
def test_marks(p_value, mark):
    assert mark_of(p_value) == mark


def test_holm_takes_data_sets_and_labels_as_two_families():
    board = small_leaderboard()
    for overall, tests in ((True, 2 * 3), (False, 2 * 3)):
        pairs = [pair for row in board.rows if row.is_overall is overall for pair in row.pairs]
        assert len(pairs) == tests
        smallest = min(pairs, key=lambda pair: pair.comparison.p_value)
        assert smallest.adjusted_p_value == pytest.approx(smallest.comparison.p_value * tests)


def test_the_consensus_is_of_the_data_sets():
    board = small_leaderboard()
    (consensus,) = board.consensus
    assert consensus.datasets == ("Dataset001_One", "Dataset002_Two")
    standings = consensus.standings["mean"]
    assert [standings[model].rank for model in "ABC"] == [1, 2, 3]
    assert standings["A"].first == 1
    assert consensus.critical.blocks == 2


def test_rows_do_not_depend_on_what_else_is_in_the_leaderboard():
    frame = frame_of({ONE: {"A": [0.5, 0.9, 0.7], "B": [0.4, 0.8, 0.9]}})
    more = frame_of({("Dataset002_Two", "x"): {"A": [0.5, 0.9], "B": [0.4, 0.8]}})
    (alone,) = build_leaderboard(frame, small_settings()).rows
    both = build_leaderboard(
        more.pipe(
            lambda other: type(other)([*other.to_dict("records"), *frame.to_dict("records")])
        ),
        small_settings(),
    ).rows
    same = next(row for row in both if row.dataset == ONE[0])
    assert {m: e.summary for m, e in same.entries.items()} == {
        m: e.summary for m, e in alone.entries.items()
    }


def test_another_seed_gives_other_intervals_and_the_same_means():
    one, other = (small_leaderboard(seed=seed).rows[0].entries["A"].summary for seed in (0, 1))
    assert one.mean == other.mean
    assert one.low != other.low


def test_configurations_are_models_of_their_own():
    low = frame_of({ONE: {"A": [0.5, 0.6]}}, "3d_lowres")
    full = frame_of({ONE: {"A": [0.7, 0.8]}}, "3d_fullres")
    frame = type(low)([*low.to_dict("records"), *full.to_dict("records")])
    cost = Cost(parameters=5)
    board = build_leaderboard(frame, small_settings(), {(ONE[0], "3d_fullres", "A"): cost})
    assert board.models == ("A 3d_lowres", "A 3d_fullres")
    assert board.costs == {(ONE[0], "A 3d_fullres"): cost}


def test_models_with_different_cases_are_an_error_that_names_them():
    frame = frame_of({ONE: {"A": [0.5, 0.6, 0.7], "B": [0.5, 0.6]}})
    with pytest.raises(CommandError, match=r"different cases .only A has One_002.; use the same"):
        build_leaderboard(frame, small_settings())
    (row,) = build_leaderboard(frame, small_settings(allow_incomplete=True)).rows
    assert row.cases == ("One_000", "One_001")


def test_models_with_different_labels_are_an_error_that_names_them():
    frame = frame_of({ONE: {"A": [0.5]}, OTHER: {"B": [0.5]}})
    with pytest.raises(
        CommandError, match=r"different labels .only A has liver, only B has tumour"
    ):
        build_leaderboard(frame, small_settings(allow_incomplete=True))


def test_a_metric_that_is_not_there_is_an_error_with_a_remedy():
    frame = frame_of({ONE: {"A": [0.5]}})
    with pytest.raises(CommandError, match="A, Dataset001_One: no hd95_mm; measure them with"):
        build_leaderboard(frame, small_settings(metrics=("dice", "hd95_mm")))


def test_nothing_to_compare_is_an_error():
    frame = frame_of({ONE: {"A": [0.5, NAN], "B": [NAN, 0.5]}})
    with pytest.raises(CommandError, match="no case is left to compare"):
        build_leaderboard(frame, small_settings())


def test_a_data_set_that_one_model_lacks_is_left_out_of_the_consensus():
    frame = frame_of(
        {
            ONE: {"A": [0.5, 0.6], "B": [0.4, 0.5]},
            ("Dataset002_Two", "spleen"): {"A": [0.5, 0.6]},
        }
    )
    board = build_leaderboard(frame, small_settings(allow_incomplete=True))
    assert board.consensus[0].datasets == ("Dataset001_One",)
    assert list(board.rows[1].entries) == ["A"]


def test_short_names_are_used_where_they_are_unique():
    board = replace(
        small_leaderboard(), datasets=("Dataset003_Liver", "Dataset103_Liver", "Dataset004_Lung")
    )
    assert [board.short_name(name) for name in board.datasets] == [
        "Dataset003_Liver",
        "Dataset103_Liver",
        "Lung",
    ]


@pytest.fixture(scope="module")
def published():
    if not REFERENCE.is_dir():
        pytest.skip(f"no real data in {REFERENCE}")
    frames = [
        read_named_results(REFERENCE / name, name, None, ["3d_fullres"], range(5))
        for name in ("PlainConvUNet", "ResEncM")
    ]
    return type(frames[0])({k: np.concatenate([f[k] for f in frames]) for k in frames[0]})


@needs(REFERENCE)
def test_fold_means_on_the_decathlon_are_the_published_ones(published):
    board = build_leaderboard(published, small_settings(rank_resamples=5, interval_resamples=5))
    means = {
        board.short_name(dataset): round(found["dice"]["PlainConvUNet"], 4)
        for dataset, found in board.fold_means.items()
    }
    assert means == PUBLISHED
    assert board.cases.groupby("model")["case"].nunique().to_dict() == {
        "PlainConvUNet": 1741,
        "ResEncM": 1741,
    }


@needs(REFERENCE)
def test_a_row_of_the_decathlon_equals_an_independent_computation(published):
    settings = Settings(("dice",), policy="reference-present", rank_resamples=5)
    liver = published[published["dataset"] == "Dataset003_Liver"]
    row = rows_by_label(build_leaderboard(liver, settings))["2"]
    one, other = (
        liver[
            (liver["model"] == model)
            & (liver["label"] == "2")
            & (liver["metric"] == "dice")
            & (liver["reference_voxels"] > 0)
        ].set_index("case")["value"]
        for model in ("PlainConvUNet", "ResEncM")
    )
    assert len(row.cases) == len(one) == 118
    assert row.entries["PlainConvUNet"].summary.mean == pytest.approx(0.6789, abs=5e-5)
    assert row.entries["ResEncM"].summary.mean == pytest.approx(0.6950, abs=5e-5)
    test = stats.wilcoxon(one, other.loc[one.index])
    assert row.pairs[0].comparison.p_value == pytest.approx(test.pvalue)
    interval = stats.bootstrap((one.to_numpy(),), np.mean, rng=1).confidence_interval
    summary = row.entries["PlainConvUNet"].summary
    assert (summary.low, summary.high) == pytest.approx((interval.low, interval.high), abs=0.003)


def with_references(voxels: dict[tuple, int], **repeats) -> pd.DataFrame:
    """Three cases of two models, whose references have 1000 voxels but for those named."""
    frame = frame_of({ONE: {"A": [0.5, 0.6, 0.7], "B": [0.4, 0.5, 0.8]}}).assign(**repeats)
    for (model, case), size in voxels.items():
        which = (frame["model"] == model) & (frame["case"] == case)
        frame.loc[which, "reference_voxels"] = size
    return frame


def test_models_evaluated_against_different_references_are_told():
    board = build_leaderboard(
        with_references({("B", "One_001"): 900, ("B", "One_002"): 0}), small_settings()
    )
    expected = (
        "Dataset001_One: in 2 of 3 cases models were evaluated against different references (case "
        "One_001, label liver: A with 1000 voxels, B with 900 voxels), so they are compared on "
        "different tasks; evaluate all of them against the same references"
    )
    assert board.different_references() == [expected]
    assert f" {expected}." in methods_paragraphs(board)[0]
    alike = build_leaderboard(with_references({("A", "One_001"): 9, ("B", "One_001"): 9}),
                              small_settings())  # fmt: skip
    assert alike.different_references() == []
    assert "different references" not in methods_paragraphs(alike)[0]


def test_so_are_trainings_of_one_model():
    frames = [
        with_references({("A", "One_000"): size} if size else {}, repeat=repeat)
        for repeat, size in enumerate((0, 800))
    ]
    (note,) = build_leaderboard(
        pd.concat(frames, ignore_index=True), small_settings()
    ).different_references()
    assert "in 1 of 3 cases" in note
    assert "label liver: A, training 1 with 1000 voxels, A, training 2 with 800 voxels" in note
