import pytest

from nnunet_attention.nnunet.planners import (
    OWN_PLANNERS,
    converted_name,
    plans_written_by,
    source_of_converted,
)


@pytest.mark.parametrize(
    ("planner", "plans"),
    [
        ("ExperimentPlanner", "nnUNetPlans"),
        ("nnUNetPlannerResEncL", "nnUNetResEncUNetLPlans"),
        ("AttentionUNetPlanner", "AttentionUNetPlans"),
        ("AttentionResEncUNetPlannerXL", "AttentionResEncUNetXLPlans"),
    ],
)
def test_a_planner_has_plans_of_its_own(planner, plans):
    assert plans_written_by(planner) == plans


def test_converted_plans_tell_their_source_by_their_name():
    assert converted_name("nnUNetPlans") == "Attention_nnUNetPlans"
    assert source_of_converted("Attention_nnUNetPlans") == "nnUNetPlans"


@pytest.mark.parametrize("plans", ["nnUNetPlans", *OWN_PLANNERS])
def test_planned_plans_are_not_taken_for_converted_ones(plans):
    assert source_of_converted(plans) is None
