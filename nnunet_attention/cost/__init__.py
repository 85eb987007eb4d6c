"""Measures what the networks of a plans file cost."""

from nnunet_attention.cost.measure import (
    ConfigurationCost,
    GateCost,
    NetworkCost,
    configuration_cost,
)
from nnunet_attention.cost.plans_file import costs_of_plans
from nnunet_attention.cost.vram import VramReference, vram_reference

__all__ = [
    "ConfigurationCost",
    "GateCost",
    "NetworkCost",
    "VramReference",
    "configuration_cost",
    "costs_of_plans",
    "vram_reference",
]
