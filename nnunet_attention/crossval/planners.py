"""Knows which command makes the plans of a given name."""

from __future__ import annotations

from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.planners import NNUNET_PLANNERS, OWN_PLANNERS, source_of_converted


def planning_command(dataset: str, plans: str) -> tuple[str, ...] | None:
    """Return the command that makes plans; None where their name does not tell the planner.

    Args:
        dataset: full name.
        plans: name of the plans; those of `source_of_converted` must exist already.
    """
    if plans in NNUNET_PLANNERS:
        number = str(int(number_of_dataset(dataset)))
        return ("nnUNetv2_plan_experiment", "-d", number, "-pl", NNUNET_PLANNERS[plans])
    own = ("nnunet-attention", "plan", "-d", dataset)
    if plans in OWN_PLANNERS:
        return (*own, "-pl", OWN_PLANNERS[plans])
    source = source_of_converted(plans)
    return None if source is None else (*own, "--from", source)
