"""What the networks of a plans file cost."""

from nnunet_attention.cost.measure import (
    ConfigurationCost,
    GateCost,
    NetworkCost,
    configuration_cost,
)
from nnunet_attention.cost.vram import VramReference, vram_reference

__all__ = [
    "ConfigurationCost",
    "GateCost",
    "NetworkCost",
    "VramReference",
    "configuration_cost",
    "vram_reference",
]
