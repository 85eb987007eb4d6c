"""Groups of cases: read, found in names, averaged and drawn."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from shared_data import ROOT, needs

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.statistics.comparisons import (
    bootstrap_interval,
    summarise_and_compare,
)
from nnunet_attention.evaluation.statistics.groups import (
    draw_group_counts,
    group_interval,
    group_means,
    group_numbers,
    group_table,
    groups_by_pattern,
    groups_by_pattern_and_dataset,
    looks_grouped,
    read_groups,
    read_groups_by_dataset,
    summarise_groups,
)

REFERENCE = ROOT / "msd_cv_reference"
CASES = ["p1_a", "p1_b", "p2_a"]
GOOD = "case,group\np1_a,one\np2_a,two\np1_b,one\n"


def read(folder, text, cases=CASES):
    (folder / "groups.csv").write_text(text)
    return read_groups(folder / "groups.csv", cases)


def test_groups_are_read_in_the_order_of_the_cases(tmp_path):
    groups = read(tmp_path, GOOD)
    assert list(groups.items()) == [("p1_a", "one"), ("p1_b", "one"), ("p2_a", "two")]


def test_further_columns_and_names_like_numbers_or_nothing_are_taken_as_text(tmp_path):
    groups = read(tmp_path, "age,group,case\n70,001,007\n,NA,1e3\n", ["007", "1e3"])
    assert groups == {"007": "001", "1e3": "NA"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case,patient\np1_a,one\n", ["no column group", "case, patient"]),
        (GOOD + "p1_a,two\n", ["1 case named more than once", "p1_a"]),
        ("case,group\np1_a,one\np2_a,two\n", ["1 case without a row", "p1_b"]),
        (GOOD + "p3_a,two\np4_a,two\n", ["2 cases not among the results", "p3_a"]),
        ("case,group\np1_a,one\np1_b,\np2_a,two\n", ["row 3", "no group"]),
        ("case,group\np1_a,one\np1_b,one\np2_a,one\n", ["all 3 cases are in one group, one"]),
        ("", ["cannot be read as CSV"]),
    ],
)
def test_a_bad_table_is_one_clear_error(tmp_path, text, words):
    with pytest.raises(CommandError) as error:
        read(tmp_path, text)
    assert all(word in str(error.value) for word in ["--groups", *words])


def test_a_table_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CommandError, match="there is no such file"):
        read_groups(tmp_path / "none.csv", CASES)


def test_the_first_group_of_a_pattern_names_the_group():
    cases = ["patient001_frame01", "patient001_frame12", "patient002_frame01"]
    groups = groups_by_pattern(r"(patient\d+)_(frame)", cases)
    assert list(groups.values()) == ["patient001", "patient001", "patient002"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(p\d", ["not a regular expression"]),
        (r"p\d", ["has no group", "brackets"]),
        (r"(p1)", ["1 case that it does not match", "p2_a"]),
        (r"p(x?)", ["3 cases that it does not match"]),
        (r"(p)\d", ["all 3 cases are in one group, p"]),
    ],
)
def test_a_bad_pattern_is_one_clear_error(pattern, words):
    with pytest.raises(CommandError) as error:
        groups_by_pattern(pattern, CASES)
    assert all(word in str(error.value) for word in ["--group-by", *words])


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        ([f"patient{n:03}_frame{frame:02}" for n in range(1, 5) for frame in (1, 12)], 4),
        ([f"patient{n:03}_{phase}" for n in range(1, 5) for phase in ("ED", "ES")], 4),
        ([f"p{n}{side}" for n in range(1, 5) for side in "ab"], 4),
        ([f"{n:03}-{visit}" for n in range(1, 5) for visit in (1, 2)], 4),
        ([f"patient{n}frame{frame}" for n in range(1, 5) for frame in (1, 9)], 4),
        # Each visit has one scan: the patient is two tokens further ahead.
        ([f"pat{n}_visit{visit}_0" for n in range(1, 5) for visit in (1, 2)], 4),
        # A second time point of one patient in five.
        (["BraTS-GLI-00000-000", "BraTS-GLI-00000-001"]
         + [f"BraTS-GLI-{n:05}-000" for n in range(1, 5)], 5),
    ],
)  # fmt: skip
def test_a_common_stem_with_a_varying_end_looks_grouped(names, stems):
    found = looks_grouped(names)
    assert (found.groups, found.cases) == (stems, len(names))
    # What is proposed works, and gives these groups.
    assert len(set(groups_by_pattern(found.pattern, names).values())) == stems
    assert all(example.startswith(found.stem) for example in found.examples)


def test_the_note_names_an_example_and_the_remedy():
    note = looks_grouped(
        [f"patient{n:03}_frame{k}" for n in range(1, 5) for k in ("01", "12")]
    ).note
    assert "8 cases have 4 stems" in note
    assert "patient001 of patient001_frame01 and patient001_frame12" in note
    assert "--groups" in note
    assert "--group-by" in note


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["case_1"],
        [f"hippocampus_{n:03}" for n in range(40)],
        [f"BRATS_{n:03}" for n in range(40)],
        [f"BraTS20_Training_{n:03}" for n in range(40)],
        [f"BraTS2021_{n:05}" for n in range(40)],
        [f"BraTS-GLI-{n:05}-000" for n in range(40)],
        [f"case_{n:05}" for n in range(40)],
        [f"{n:03}" for n in range(40)],
        # Three sites are no patients, nor are four years.
        [f"site{site}_{n:03}" for site in range(3) for n in range(20)],
        [f"{year}-{n:04}" for year in range(2016, 2020) for n in range(20)],
        [f"TCGA-{site:02}-{n:04}" for site in range(3) for n in range(20)],
    ],
)
def test_plain_names_raise_no_alarm(names):
    assert looks_grouped(names) is None


@needs(REFERENCE)
def test_no_data_set_of_the_decathlon_looks_grouped():
    seen = 0
    for dataset in sorted((REFERENCE / "PlainConvUNet").iterdir()):
        names = {
            case["reference_file"].rpartition("/")[2].removesuffix(".nii.gz")
            for summary in dataset.glob("*/fold_*/validation/summary.json")
            for case in json.loads(summary.read_text())["metric_per_case"]
        }
        assert len(names) > 15
        assert looks_grouped(names) is None, dataset.name
        seen += 1
    assert seen == 10


def test_a_group_counts_by_the_mean_of_its_defined_cases():
    table = pd.DataFrame(
        {"A": [0.8, 0.6, 0.5, 0.1], "B": [0.7, np.nan, 0.3, np.nan]},
        index=["p1_a", "p1_b", "p2_a", "p3_a"],
    )
    groups = {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2", "p3_a": "p3"}
    means = group_table(table, groups)
    # A case that one model lacks counts for none, and the third group has no other.
    assert means.to_dict("index") == {"p1": {"A": 0.8, "B": 0.7}, "p2": {"A": 0.5, "B": 0.3}}
    whole = group_table(table.fillna(0.2), groups)
    np.testing.assert_allclose(whole["A"], [0.7, 0.5, 0.1])
    assert len(table) == 4


def test_the_test_on_patients_is_that_of_their_means():
    """Two images each of five patients, all better: 2 / 2^10 on images, 2 / 2^5 on patients."""
    cases = [f"patient{n}_frame{frame}" for n in range(5) for frame in (1, 2)]
    gains = np.arange(1, 11) / 1000
    table = pd.DataFrame({"A": 0.8 + gains, "B": 0.8}, index=cases)

    def p_value(rows):
        return summarise_and_compare(rows.to_numpy().T, True, 0, 9)[1][0, 1].p_value

    patients = group_table(table, groups_by_pattern(r"(patient\d+)", cases))
    assert p_value(table) == pytest.approx(2 / 2**10)
    assert p_value(patients) == pytest.approx(2 / 2**5)
    by_hand = (gains[::2] + gains[1::2]) / 2
    assert p_value(patients) == pytest.approx(stats.wilcoxon(by_hand).pvalue)


def test_group_means_by_hand():
    numbers, names = group_numbers(["b_1", "a_1", "b_2"], {"b_1": "b", "a_1": "a", "b_2": "b"})
    assert (numbers.tolist(), names) == ([1, 0, 1], ["a", "b"])
    np.testing.assert_allclose(group_means(np.array([[1.0, 5.0, 3.0]]), numbers), [[5.0, 2.0]])


def test_all_cases_of_a_drawn_group_come_along():
    numbers = np.array([0, 1, 1, 2])
    counts = draw_group_counts(numbers, 200, np.random.default_rng(0))
    assert counts.shape == (200, 4)
    np.testing.assert_array_equal(counts[:, 1], counts[:, 2])
    # As many groups as there are, whatever their size.
    assert set(counts[:, [0, 1, 3]].sum(axis=1)) == {3}
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.2)


def test_the_interval_over_group_means_is_that_of_drawn_groups():
    """For groups of one size both ways of drawing have the same distribution."""
    values = np.random.default_rng(1).normal(0, 1, (20, 2)) + np.arange(20)[:, None] / 4
    numbers = np.repeat(np.arange(20), 2)
    counts = draw_group_counts(numbers, 9999, np.random.default_rng(2))
    drawn = counts @ values.ravel() / counts.sum(axis=1)
    low, high = bootstrap_interval(group_means(values.ravel()[None], numbers), 3)
    np.testing.assert_allclose(np.quantile(drawn, [0.025, 0.975]), [low[0], high[0]], atol=0.1)
    # Images as if they were independent would claim to know more.
    narrow = np.diff(np.ravel(bootstrap_interval(values.ravel()[None], 3)))[0]
    assert high[0] - low[0] > 1.2 * narrow


def test_the_interval_over_groups_is_near_that_of_the_t_test():
    # Symmetric, as BCa follows a skew that the t interval ignores.
    away = np.random.default_rng(1).normal(0, 0.05, 6)
    means = 0.8 + np.array([[*away, *-away]])
    expected = stats.ttest_1samp(means[0], 0).confidence_interval(0.95)
    low, high = group_interval(means, 1)
    width = expected.high - expected.low
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=width / 20)
    # BCa alone is narrower by t / z sqrt(12 / 11) = 2.201 / 1.960 * 1.044.
    narrow_low, narrow_high = bootstrap_interval(means, 1)
    assert (high - low)[0] / (narrow_high - narrow_low)[0] == pytest.approx(1.173, abs=0.001)


def test_the_interval_over_few_groups_holds_the_truth_as_often_as_it_says():
    means = np.random.default_rng(2).normal(0, 1, (4000, 8))
    low, high = group_interval(means, 3)
    assert ((low < 0) & (high > 0)).mean() == pytest.approx(0.95, abs=0.02)


def test_equal_groups_have_an_interval_of_nothing_and_one_group_none():
    low, high = group_interval(np.full((1, 4), 0.5), 0, 99)
    assert (low[0], high[0]) == (0.5, 0.5)
    assert np.isnan(group_interval(np.array([[0.5]]), 0, 99)).all()


def test_a_table_of_more_cases_will_do_for_a_part_of_them(tmp_path):
    (tmp_path / "groups.csv").write_text(GOOD)
    groups = read_groups(tmp_path / "groups.csv", ["p1_a", "p2_a"], others=True)
    assert groups == {"p1_a": "one", "p2_a": "two"}


def test_each_row_counts_the_groups_in_which_it_is_defined():
    groups = ["p2", "p1", "p2", "p3", "p1"]
    values = np.array(
        [
            [0.9, 0.5, 0.7, 0.2, 0.6],  # p1 .55, p2 .8, p3 .2
            [0.9, np.nan, np.nan, np.nan, 0.6],  # p1 .6, p2 .9
            [np.nan] * 5,
        ]
    )
    all_three, two, none = summarise_groups(values, groups, seed=3)
    assert (all_three.n, two.n, none) == (3, 2, None)
    assert all_three.mean == pytest.approx((0.55 + 0.8 + 0.2) / 3)
    assert all_three.median == pytest.approx(0.55)
    assert two.mean == pytest.approx(0.75)
    assert two.sd == pytest.approx(0.15 * np.sqrt(2))
    low, high = group_interval(np.array([[0.55, 0.8, 0.2]]), seed=3)
    assert (all_three.low, all_three.high) == (pytest.approx(low[0]), pytest.approx(high[0]))


def test_a_single_group_has_a_mean_and_no_interval():
    (only,) = summarise_groups(np.array([[0.2, 0.4]]), ["p1", "p1"], seed=0)
    assert (only.n, only.sd, only.low, only.high) == (1, None, None, None)
    assert only.mean == pytest.approx(0.3)


ONE, TWO = "Dataset001_One", "Dataset002_Two"
ALIKE = {ONE: ["c1", "c2", "c3"], TWO: ["c2", "c1"]}
BY_DATASET = (
    "dataset,case,group\nDataset001_One,c1,p\n1,c2,p\n001,c3,q\n2,c1,a\n2,c2,b\n3,c1,other\n"
)


def read_by_dataset(folder, text, cases, others=False):
    (folder / "groups.csv").write_text(text)
    return read_groups_by_dataset(folder / "groups.csv", cases, others)


def test_cases_of_one_name_have_the_groups_of_their_own_data_set(tmp_path):
    groups = read_by_dataset(tmp_path, BY_DATASET, ALIKE)
    assert groups == {ONE: {"c1": "p", "c2": "p", "c3": "q"}, TWO: {"c2": "b", "c1": "a"}}


def test_without_a_column_of_data_sets_a_row_is_for_all_of_them(tmp_path):
    groups = read_by_dataset(tmp_path, "case,group\nc1,p\nc2,q\nc3,q\n", ALIKE)
    assert groups == {ONE: {"c1": "p", "c2": "q", "c3": "q"}, TWO: {"c2": "q", "c1": "p"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "case,group\nc1,p\nc2,p\nc3,q\nc1,a\nc2,b\n",
            "2 cases named more than once, such as c1; keep one row for each, or name the data set "
            "of each row in a column dataset",
        ),
        (BY_DATASET + "1,c3,p\n", f", {ONE}: 1 case named more than once, such as c3"),
        (BY_DATASET + "1,c4,p\n", f", {ONE}: 1 case not among the results, such as c4"),
        (BY_DATASET.replace("2,c2,b", "1,c9,b"), ": 1 case not among"),
        (BY_DATASET.replace("2,c2,b\n", ""), f", {TWO}: 1 case without a row, such as c2"),
        (BY_DATASET.replace("2,c2,b", "2,c2,a"), f", {TWO}: all 2 cases are in one group, a"),
        (
            BY_DATASET.replace("1,", "9,").replace("001_One", "009_Nine"),
            f": no row is for {ONE}, because its column dataset has Dataset009_Nine, 9, 009, 2, 3; "
            "give full names or numbers there",
        ),
        ("case,group\nc1,p\nc2,p\nc3,q\n", f", {TWO}: all 2 cases are in one group, p"),
    ],
)
def test_what_is_wrong_is_told_with_its_data_set(tmp_path, text, message):
    with pytest.raises(CommandError) as error:
        read_by_dataset(tmp_path, text, ALIKE)
    assert message in str(error.value)


def test_a_part_of_a_data_set_may_have_a_file_of_all_of_it(tmp_path):
    groups = read_by_dataset(tmp_path, BY_DATASET, {ONE: ["c1", "c3"]}, others=True)
    assert groups == {ONE: {"c1": "p", "c3": "q"}}


def test_names_tell_the_groups_of_each_data_set():
    cases = {ONE: ["p1_a", "p1_b", "p2_a"], TWO: ["p1_a", "p3_a"]}
    groups = groups_by_pattern_and_dataset("(p[0-9])", cases)
    assert groups[ONE] == {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2"}
    assert groups[TWO] == {"p1_a": "p1", "p3_a": "p3"}
