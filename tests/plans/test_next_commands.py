import json

import pytest

from nnunet_attention.plans import next_commands


@pytest.fixture
def folder(tmp_path, minimal_plans):
    """A planned data set of two cases, whose data of one configuration are there."""
    folder = tmp_path / "Dataset007_Seven"
    folder.mkdir()
    configurations = minimal_plans["configurations"]
    configurations["3d_fullres"]["data_identifier"] = "stock"
    lowres = {**configurations["3d_fullres"], "data_identifier": "low"}
    cascade = {"inherits_from": "3d_lowres", "previous_stage": "3d_lowres"}
    configurations |= {"3d_lowres": lowres, "3d_cascade_fullres": cascade}
    (folder / "Plans.json").write_text(json.dumps(minimal_plans))
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "file_ending": ".nii.gz",
        "numTraining": 2,
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    (folder / "stock").mkdir()
    for case in "ab":
        (folder / "stock" / f"{case}.pkl").touch()
    return folder


def test_only_missing_data_are_preprocessed_and_every_configuration_is_trained(folder):
    commands = next_commands(folder, "Plans", ["3d_fullres", "3d_lowres"])
    preprocessing = "nnUNetv2_preprocess -d 7 -plans_name Plans -c 3d_lowres"
    assert commands.preprocessing == tuple(preprocessing.split())
    assert commands.preprocessed == ("stock",)
    assert commands.trainings == (
        ("nnUNetv2_train", "7", "3d_fullres", "0", "-p", "Plans"),
        ("nnUNetv2_train", "7", "3d_lowres", "0", "-p", "Plans"),
    )


def test_the_data_of_a_cascade_are_those_that_it_inherits(folder):
    commands = next_commands(folder, "Plans", ["3d_lowres", "3d_cascade_fullres"])
    assert commands.preprocessing[-2:] == ("-c", "3d_lowres")


def test_where_all_data_are_there_nothing_is_preprocessed(folder):
    commands = next_commands(folder, "Plans", ["3d_fullres"])
    assert commands.preprocessing is None
    assert next_commands(folder, "Plans", []).trainings == ()
