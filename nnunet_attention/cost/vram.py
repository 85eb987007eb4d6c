"""Estimates GPU memory as nnU-Net does, from the values in the feature maps of a network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VramReference:
    """Holds a planner's rule of thumb that turns values in feature maps into GB of GPU memory.

    Attributes:
        values_2d: values in the feature maps of one case in 2-D, with 12 cases in the batch.
        values_3d: values in the feature maps of one case in 3-D, with 2 cases in the batch.
        gigabytes: memory that such a batch takes.
    """

    values_2d: int
    values_3d: int
    gigabytes: float

    def vram_gb(self, values: int, batch_size: int, dimensions: int) -> float:
        """Estimate the memory of a batch of cases with `values` in their feature maps each."""
        reference, cases = (self.values_2d, 12) if dimensions == 2 else (self.values_3d, 2)
        return self.gigabytes * values / reference * batch_size / cases


# UNet_reference_val_2d, _3d and _corresp_GB of nnU-Net 2.8.1's planners. They are set in
# constructors that need a data set, so they cannot be read there.
_PLAIN = VramReference(85_000_000, 560_000_000, 8)
_RESIDUAL_M = VramReference(135_000_000, 680_000_000, 8)
_RESIDUAL_L = VramReference(380_000_000, 2_100_000_000, 24)
_RESIDUAL_XL = VramReference(560_000_000, 3_600_000_000, 40)
_REFERENCE_OF_PLANNER = {
    "ExperimentPlanner": _PLAIN,
    "AttentionUNetPlanner": _PLAIN,
    "ResEncUNetPlanner": _RESIDUAL_M,
    "nnUNetPlannerResEncM": _RESIDUAL_M,
    "AttentionResEncUNetPlannerM": _RESIDUAL_M,
    "nnUNetPlannerResEncL": _RESIDUAL_L,
    "AttentionResEncUNetPlannerL": _RESIDUAL_L,
    "nnUNetPlannerResEncXL": _RESIDUAL_XL,
    "AttentionResEncUNetPlannerXL": _RESIDUAL_XL,
}


def vram_reference(planner_name: str, network_class_name: str) -> VramReference:
    """Return the reference of the planner that made the plans.

    For an unknown planner, return the reference of nnU-Net's default planner for the network:
    ExperimentPlanner, or ResEncUNetPlanner for the residual encoder.
    """
    residual = "Residual" in network_class_name
    return _REFERENCE_OF_PLANNER.get(planner_name, _RESIDUAL_M if residual else _PLAIN)
