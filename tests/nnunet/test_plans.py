"""Plans files are read with clear errors and never overwritten with other content."""

import copy
import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.plans import (
    check_unchanged,
    configuration_of,
    data_owner,
    differences,
    identifier_of,
    next_stages,
    read_plans,
    relevant,
    save_plans,
    whole_plans,
)

DATASET_JSON = {"labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz", "numTraining": 9}


@pytest.fixture
def plans(minimal_plans):
    minimal_plans["configurations"]["3d_cascade_fullres"] = {
        "inherits_from": "3d_fullres",
        "previous_stage": "3d_lowres",
    }
    minimal_plans["configurations"]["mine"] = {
        "inherits_from": "3d_cascade_fullres",
        "data_identifier": "mine",
        "batch_size": 7,
    }
    return minimal_plans


def test_inherited_entries_are_filled_in_and_own_ones_win(plans):
    mine = configuration_of(plans, "mine")
    assert mine["batch_size"] == 7
    assert mine["previous_stage"] == "3d_lowres"
    assert mine["patch_size"] == [4, 8, 16]


def test_an_unknown_configuration_is_refused_with_those_there_are(plans):
    with pytest.raises(CommandError, match=r"-c 2d: .* only 3d_cascade_fullres, 3d_fullres, mine"):
        configuration_of(plans, "2d")


def test_configurations_that_inherit_from_each_other_are_refused(plans):
    plans["configurations"]["3d_fullres"]["inherits_from"] = "mine"
    with pytest.raises(CommandError):
        configuration_of(plans, "mine")


def test_data_belong_to_the_configuration_that_names_them(plans):
    assert data_owner(plans, "3d_cascade_fullres") == "3d_fullres"
    assert data_owner(plans, "mine") == "mine"


@pytest.mark.parametrize(
    ("entry", "wanted"), [({}, ()), ({"next_stage": "a"}, ("a",)), ({"next_stage": ["a"]}, ("a",))]
)
def test_next_stages_are_a_name_or_several(entry, wanted):
    assert next_stages(entry) == wanted


def test_differences_name_the_innermost_entry_with_both_values():
    before = {"architecture": {"n_stages": 3, "features": [4, 8]}, "batch_size": 2}
    now = {"architecture": {"n_stages": 4, "features": [4, 8]}}
    assert differences(before, now) == [
        "architecture.n_stages was 3, is 4",
        "batch_size was 2, is absent",
    ]


def test_what_the_planner_only_reports_is_not_relevant(plans):
    plans["configurations"]["3d_fullres"]["median_image_size_in_voxels"] = [1, 2, 3]
    plans["experiment_planner_used"] = "Another"
    found = relevant(plans, "3d_fullres", DATASET_JSON)
    assert "median_image_size_in_voxels" not in found
    assert "experiment_planner_used" not in found
    assert "numTraining" not in found
    assert found["labels"] == DATASET_JSON["labels"]


@pytest.fixture
def model(tmp_path, plans):
    """Begun with the plans."""
    folder = tmp_path / "Dataset900_Minimal" / "Trainer__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    (folder / "fold_0" / "checkpoint_latest.pth").touch()
    return folder


def test_unchanged_plans_are_accepted(model, plans):
    check_unchanged(model, plans, "3d_fullres", DATASET_JSON)


def test_changed_labels_are_refused(model, plans):
    changed = {**DATASET_JSON, "labels": {"background": 0, "organ": 1, "tumour": 2}}
    with pytest.raises(CommandError, match=r"labels\.tumour was absent, is 2"):
        check_unchanged(model, plans, "3d_fullres", changed)


def test_another_configuration_may_change(model, plans):
    plans["configurations"]["mine"]["batch_size"] = 8
    check_unchanged(model, plans, "3d_fullres", DATASET_JSON)


def test_before_any_checkpoint_plans_may_change(model, plans):
    (model / "fold_0" / "checkpoint_latest.pth").unlink()
    plans["configurations"]["3d_fullres"]["batch_size"] = 8
    check_unchanged(model, plans, "3d_fullres", DATASET_JSON)


@pytest.mark.parametrize("identifier", ["../other", "..", "", None, 3])
def test_data_are_not_looked_for_outside_the_data_set(identifier):
    plans = {"configurations": {"2d": {"data_identifier": identifier}}}
    with pytest.raises(CommandError, match="for data_identifier; expected the name of a folder"):
        identifier_of(plans, "2d")


@pytest.mark.parametrize("configuration", [None, 3, "2d", []])
def test_a_configuration_that_is_no_object_is_refused(configuration):
    with pytest.raises(CommandError, match="are damaged: this configuration is"):
        configuration_of({"configurations": {"2d": configuration}}, "2d")


def test_plans_are_written_whole_in_their_own_order(tmp_path, minimal_plans):
    path = tmp_path / "new" / "Plans.json"
    save_plans(minimal_plans, path)
    assert list(read_plans(path)) == list(minimal_plans)
    assert path.read_text().endswith("}\n")
    assert [found.name for found in path.parent.iterdir()] == ["Plans.json"]


def test_configurations_that_someone_added_are_kept(tmp_path, minimal_plans):
    path = tmp_path / "Plans.json"
    with_addition = copy.deepcopy(minimal_plans)
    with_addition["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    save_plans(with_addition, path)
    save_plans(minimal_plans, path)
    assert read_plans(path) == with_addition


def test_tuples_and_lists_are_the_same_content(tmp_path, minimal_plans):
    path = tmp_path / "Plans.json"
    save_plans(minimal_plans, path)
    save_plans({**minimal_plans, "transpose_forward": (0, 1, 2)}, path)


def test_the_difference_is_named(tmp_path, minimal_plans):
    path = tmp_path / "Plans.json"
    save_plans(minimal_plans, path)
    changed = copy.deepcopy(minimal_plans)
    changed["image_reader_writer"] = "NibabelIO"
    changed["configurations"]["3d_fullres"]["batch_size"] = 3
    with pytest.raises(CommandError, match=r"\(image_reader_writer, configuration 3d_fullres\)"):
        save_plans(changed, path)
    assert read_plans(path) == minimal_plans


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "it has no configurations"),
        ('{"configurations": {"2d": {"batch_size": 2}}}', "configuration 2d has no architecture"),
    ],
)
def test_a_bad_file_is_named(content, message, tmp_path):
    path = tmp_path / "Plans.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandError, match=message) as error:
        read_plans(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "text", [None, "", '{"configurations": {"2d"', "{}", '{"configurations": []}']
)
def test_what_a_kill_has_left_of_plans_is_none(tmp_path, text):
    path = tmp_path / "plans.json"
    if text is not None:
        path.write_text(text)
    assert whole_plans(path) is None


def test_whole_plans_are_read(tmp_path):
    path = tmp_path / "plans.json"
    path.write_text('{"configurations": {"2d": {}}}')
    assert whole_plans(path) == {"configurations": {"2d": {}}}
