"""Knows which command makes plans of a name."""

from __future__ import annotations

from nnunet_attention.nnunet.dataset_names import number_of_dataset

_NNUNET_PLANNERS = {
    "nnUNetPlans": "ExperimentPlanner",
    "nnUNetResEncUNetMPlans": "nnUNetPlannerResEncM",
    "nnUNetResEncUNetLPlans": "nnUNetPlannerResEncL",
    "nnUNetResEncUNetXLPlans": "nnUNetPlannerResEncXL",
}
_OWN_PLANNERS = {
    "AttentionUNetPlans": "AttentionUNetPlanner",
    "AttentionResEncUNetMPlans": "AttentionResEncUNetPlannerM",
    "AttentionResEncUNetLPlans": "AttentionResEncUNetPlannerL",
    "AttentionResEncUNetXLPlans": "AttentionResEncUNetPlannerXL",
}
# What `nnunet-attention plan --from X` calls its plans.
_CONVERTED = "Attention_"


def planning_command(dataset: str, plans: str) -> tuple[str, ...] | None:
    """Return the command that makes plans; None where their name does not tell the planner.

    Args:
        dataset: full name.
        plans: name of the plans; those of `source_of` must be there before.
    """
    if plans in _NNUNET_PLANNERS:
        number = str(int(number_of_dataset(dataset)))
        return ("nnUNetv2_plan_experiment", "-d", number, "-pl", _NNUNET_PLANNERS[plans])
    own = ("nnunet-attention", "plan", "-d", dataset)
    if plans in _OWN_PLANNERS:
        return (*own, "-pl", _OWN_PLANNERS[plans])
    source = source_of(plans)
    return None if source is None else (*own, "--from", source)


def source_of(plans: str) -> str | None:
    """Return the name of the plans that these are converted from; None where they are planned."""
    if plans in _OWN_PLANNERS or not plans.startswith(_CONVERTED):
        return None
    return plans.removeprefix(_CONVERTED)
