import json

import pytest

from nnunet_attention.cost import costs_of_plans
from nnunet_attention.errors import CommandError


@pytest.fixture
def path(tmp_path, minimal_plans):
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "file_ending": ".nii.gz",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    minimal_plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    (tmp_path / "Plans.json").write_text(json.dumps(minimal_plans))
    return tmp_path / "Plans.json"


def test_all_configurations_are_measured_unless_some_are_named(path):
    costs = costs_of_plans(path)
    assert [(cost.configuration, cost.batch_size) for cost in costs] == [
        ("3d_fullres", 2),
        ("mine", 7),
    ]
    assert costs_of_plans(path, ["mine"]) == costs[1:]
    assert costs_of_plans(path, []) == []


def test_a_configuration_that_is_absent_is_named_with_those_there_are(path):
    with pytest.raises(
        CommandError,
        match=r"^-c 2d: .*Plans.json has no such configuration; it has 3d_fullres, mine$",
    ):
        costs_of_plans(path, ["2d"])


def test_whatever_is_wrong_the_plans_file_is_named(path, minimal_plans):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "os.system"
    path.write_text(json.dumps(minimal_plans))
    with pytest.raises(CommandError, match=r"^.*Plans.json: .*os\.system"):
        costs_of_plans(path, ["3d_fullres"])
