"""Plans the attention U-Net, with its own planners or by converting existing plans.

nnU-Net looks for planners in its own folder only, so `nnunet-attention plan` passes it ours.
"""

from nnunet_attention.nnunet.datasets import dataset_folder, dataset_name, needs_preprocessing
from nnunet_attention.nnunet.plans import read_plans, save_plans
from nnunet_attention.plans.architecture import gated_architecture
from nnunet_attention.plans.conversion import convert_plans, converted_plans
from nnunet_attention.plans.like import LIKE_PLANS, PlannedLike, plan_like
from nnunet_attention.plans.next_commands import NextCommands, next_commands
from nnunet_attention.plans.planners import (
    PLANNERS,
    AttentionResEncUNetPlannerL,
    AttentionResEncUNetPlannerM,
    AttentionResEncUNetPlannerXL,
    AttentionUNetPlanner,
)
from nnunet_attention.plans.planning import plan_dataset, plan_or_convert

__all__ = [
    "LIKE_PLANS",
    "PLANNERS",
    "AttentionResEncUNetPlannerL",
    "AttentionResEncUNetPlannerM",
    "AttentionResEncUNetPlannerXL",
    "AttentionUNetPlanner",
    "NextCommands",
    "PlannedLike",
    "convert_plans",
    "converted_plans",
    "dataset_folder",
    "dataset_name",
    "gated_architecture",
    "needs_preprocessing",
    "next_commands",
    "plan_dataset",
    "plan_like",
    "plan_or_convert",
    "read_plans",
    "save_plans",
]
