"""The labels and regions that nnU-Net evaluates, from dataset.json."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.labels import (
    LabelScheme,
    find_dataset_json,
    tolerances_mm,
)

PLAIN = {"background": 0, "cancer": 2, "liver": 1}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}


def scheme(tmp_path, labels, **content):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz", **content}))
    return LabelScheme.from_file(path)


@pytest.mark.parametrize("labels", [PLAIN, REGIONS, PLAIN | {"ignore": 3}, REGIONS | {"ignore": 4}])
def test_labels_regions_and_ignore_label_are_those_of_nnunet(tmp_path, labels):
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager(labels, regions_class_order=[1, 2, 3] if "whole" in labels else None)
    read = scheme(tmp_path, labels)
    expected = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    assert list(read.names) == list(expected)
    assert read.ignore_label == manager.ignore_label


def test_names_follow_their_labels(tmp_path):
    assert scheme(tmp_path, PLAIN).names == {1: "liver", 2: "cancer"}
    assert scheme(tmp_path, REGIONS).names == {(1, 2, 3): "whole", (2, 3): "core", 3: "enhancing"}


def test_a_label_is_found_by_name_and_key(tmp_path):
    read = scheme(tmp_path, REGIONS)
    assert read.label("core") == read.label("(2, 3)") == (2, 3)
    assert read.label("3") == 3
    with pytest.raises(CommandError, match="unknown label 'edema'; known are: whole, core, enh"):
        read.label("edema")


def test_names_that_are_numbers_come_before_keys(tmp_path):
    read = scheme(tmp_path, {"background": 0, "2": 1, "1": 2, "4": 3})
    assert [read.label(name) for name in ("1", "2", "4", "3")] == [2, 1, 3, 3]
    assert tolerances_mm(read, 2.0, {"1": 0.5}) == {1: 2.0, 2: 0.5, 3: 2.0}


def test_a_summarys_labels_are_all_names_or_all_keys(tmp_path):
    read = scheme(tmp_path, {"background": 0, "2": 1, "1": 2, "4": 3})
    assert read.labels(["1", "2", "4"]) == [2, 1, 3]
    # The name 1 is label 2's, but no label is named 3: these are keys.
    assert read.labels(["1", "2", "3"]) == [1, 2, 3]
    with pytest.raises(CommandError, match="unknown label '5'; known are: 2, 1, 4"):
        read.labels(["1", "5"])


def test_tolerances_are_per_label(tmp_path):
    read = scheme(tmp_path, PLAIN)
    assert tolerances_mm(read, 2.0, {"cancer": 1.0}) == {1: 2.0, 2: 1.0}
    assert tolerances_mm(read, 2.0, {"1": 3.0}) == {1: 3.0, 2: 2.0}
    with pytest.raises(CommandError, match="unknown label 'spleen'"):
        tolerances_mm(read, 2.0, {"spleen": 1.0})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0": "background", "1": "liver"}, "labels must be NAME: NUMBER"),
        ({"background": 0}, "no labels except background"),
        ({"background": 0, "liver": 1, "ignore": [2, 3]}, "ignore label must be one number"),
        ([0, 1], r"labels is \[0, 1\], not a mapping from names to values"),
    ],
)
def test_a_damaged_dataset_json_is_named(tmp_path, labels, message):
    with pytest.raises(CommandError, match=message) as caught:
        scheme(tmp_path, labels)
    assert str(tmp_path / "dataset.json") in str(caught.value)


def test_the_first_dataset_json_is_taken(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "two" / "dataset.json").touch()
    (tmp_path / "three" / "dataset.json").touch()
    folders = [tmp_path / name for name in ("one", "two", "three")]
    assert find_dataset_json(folders) == tmp_path / "two" / "dataset.json"
    with pytest.raises(
        CommandError, match=r"no dataset.json in any of: .*one; name it with -djfile"
    ):
        find_dataset_json(folders[:1])
