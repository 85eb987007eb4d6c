import pytest

from nnunet_attention.crossval.planners import planning_command
from nnunet_attention.nnunet.planners import source_of_converted

DATASET = "Dataset009_Spleen"


@pytest.mark.parametrize(
    ("plans", "command"),
    [
        ("nnUNetPlans", "nnUNetv2_plan_experiment -d 9 -pl ExperimentPlanner"),
        ("nnUNetResEncUNetXLPlans", "nnUNetv2_plan_experiment -d 9 -pl nnUNetPlannerResEncXL"),
        ("AttentionUNetPlans", f"nnunet-attention plan -d {DATASET} -pl AttentionUNetPlanner"),
        ("Attention_MyPlans", f"nnunet-attention plan -d {DATASET} --from MyPlans"),
    ],
)
def test_the_name_of_plans_tells_the_command_that_makes_them(plans, command):
    assert " ".join(planning_command(DATASET, plans)) == command


def test_a_name_that_no_planner_gives_has_no_command():
    assert planning_command(DATASET, "MyPlans") is None


def test_converted_plans_have_a_source_and_planned_ones_none():
    assert source_of_converted("Attention_nnUNetPlans") == "nnUNetPlans"
    assert source_of_converted("AttentionUNetPlans") is None
    assert source_of_converted("nnUNetPlans") is None
