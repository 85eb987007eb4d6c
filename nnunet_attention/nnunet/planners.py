"""Knows the names of experiment planners, nnU-Net's and ours, and of the plans they write."""

from __future__ import annotations

STOCK_PLANS = "nnUNetPlans"
NNUNET_PLANNERS = {
    STOCK_PLANS: "ExperimentPlanner",
    "nnUNetResEncUNetMPlans": "nnUNetPlannerResEncM",
    "nnUNetResEncUNetLPlans": "nnUNetPlannerResEncL",
    "nnUNetResEncUNetXLPlans": "nnUNetPlannerResEncXL",
}
"""The planner in nnU-Net that writes plans, by the plans' name."""

OWN_PLANNERS = {
    "AttentionUNetPlans": "AttentionUNetPlanner",
    "AttentionResEncUNetMPlans": "AttentionResEncUNetPlannerM",
    "AttentionResEncUNetLPlans": "AttentionResEncUNetPlannerL",
    "AttentionResEncUNetXLPlans": "AttentionResEncUNetPlannerXL",
}
"""Our planner that writes plans, by the plans' name."""

OWN_PLANNER_NAMES = tuple(OWN_PLANNERS.values())
DEFAULT_PLANNER = OWN_PLANNER_NAMES[0]
_CONVERTED = "Attention_"


def plans_written_by(planner: str) -> str:
    """Return the name of the plans that one of the planners writes unless told otherwise."""
    planners = {**NNUNET_PLANNERS, **OWN_PLANNERS}
    return next(plans for plans, name in planners.items() if name == planner)


def converted_name(source: str) -> str:
    """Return the name that plans get by conversion, unless another is given."""
    return f"{_CONVERTED}{source}"


def source_of_converted(plans: str) -> str | None:
    """Return the name of the plans that were converted to these, judged by their name."""
    return plans.removeprefix(_CONVERTED) if plans.startswith(_CONVERTED) else None
