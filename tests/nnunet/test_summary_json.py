import json
import math

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.summary_json import (
    CaseMetrics,
    case_name,
    label_of_key,
    parse_summary,
    read_summary_json,
    summarised_cases,
)


def content(**metrics) -> dict:
    entry = {
        "reference_file": "/labels/liver_1.nii.gz",
        "prediction_file": "C:\\results\\liver_1.nii.gz",
        "metrics": metrics or {"1": {"Dice": 0.5, "TP": 3}, "(1,2)": {"Dice": None, "TP": 0}},
    }
    return {"metric_per_case": [entry], "mean": {}, "tolerance_mm": {"1": 2.0, "(1, 2)": None}}


def test_labels_are_numbers_and_regions_are_tuples():
    summary = parse_summary(content(), "summary.json")
    [case] = summary.cases
    assert (case.case, case.reference_file) == ("liver_1", "/labels/liver_1.nii.gz")
    assert case.prediction_file == "C:\\results\\liver_1.nii.gz"
    assert case.metrics[1] == {"Dice": 0.5, "TP": 3}
    assert case.metrics[1, 2]["TP"] == 0
    assert math.isnan(case.metrics[1, 2]["Dice"])
    assert summary.tolerance_mm == {1: 2.0}


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("1", 1),
        (" 12 ", 12),
        ("(1,2)", (1, 2)),
        ("[1, 2]", (1, 2)),
        ("(1,)", (1,)),
        ("liver", "liver"),
        ("liver, tumour", "liver, tumour"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_keys_of_regions_have_one_form(key, label):
    assert label_of_key(key) == label


@pytest.mark.parametrize(
    ("file", "case"),
    [
        ("liver_1.nii.gz", "liver_1"),
        ("/data/gt/liver_1.nii.gz", "liver_1"),
        ("C:\\data\\gt\\liver_1.nii.gz", "liver_1"),
        ("1.2.840.nrrd", "1.2.840"),
        ("cell.png", "cell"),
        ("unknown.ending", "unknown.ending"),
    ],
)
def test_a_case_is_its_file_without_folder_and_ending(file, case):
    assert case_name(file) == case


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ({}, "no metric_per_case"),
        ({"metric_per_case": [3]}, "entry 0 of metric_per_case is not an object"),
        ({"metric_per_case": [{"metrics": {"1": {}}}]}, "entry 0 .* has no reference_file"),
        ({"metric_per_case": [{"reference_file": "a.nii.gz"}]}, "a.nii.gz has no metrics"),
        (content(**{"1": 3}), "case liver_1, label 1 has no metrics"),
        (content(**{"1": {"Dice": "0.5"}}), r'label 1: Dice is "0.5", not a number'),
        (content(**{"1": {"Dice": True}}), "label 1: Dice is true, not a number"),
        (content(**{"1": {}, "1 ": {}}), "case liver_1 has label 1 twice"),
    ],
)
def test_what_is_no_summary_is_one_error_with_file_and_remedy(damaged, message):
    with pytest.raises(CommandError, match=f"^here/summary.json.*{message}.*; repeat"):
        parse_summary(damaged, "here/summary.json")


def test_summarised_cases_are_those_of_the_predictions(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(content()))
    assert summarised_cases(path, ".nii.gz") == {"liver_1"}
    assert isinstance(read_summary_json(path).cases[0], CaseMetrics)


def test_an_absent_or_half_written_summary_has_no_cases(tmp_path):
    path = tmp_path / "summary.json"
    assert summarised_cases(path, ".nii.gz") == set()
    path.write_text(json.dumps(content())[:-9])
    assert summarised_cases(path, ".nii.gz") == set()
    with pytest.raises(CommandError, match="cannot be read as JSON"):
        read_summary_json(path)
