"""Makes nnU-Net's experiment planners plan the attention U-Net."""

from collections.abc import Sequence
from pathlib import Path

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (  # noqa: E501 the module's name is that long
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_attention.nnunet.planners import STOCK_PLANS, plans_written_by
from nnunet_attention.nnunet.plans import save_plans
from nnunet_attention.nnunet.workers import planning_in_this_process
from nnunet_attention.plans.architecture import GateOptions, gated_architecture


class _GatedNetworks(ExperimentPlanner):
    """Adds gates to the networks of the planner that follows in the method resolution order.

    The rule for patch and batch is nnU-Net's, with its own reference values: the patch shrinks
    until the smallest batch fits into the memory target, then the batch grows to the nearest whole
    number. As the gates are counted, a patch that only just fits without them may become smaller;
    if patch and batch fit with gates too, they are the stock planner's.

    Args:
        dataset_name_or_id: see nnU-Net.
        gpu_memory_target_in_gb: the memory target; None for the stock planner's.
        preprocessor_name: see nnU-Net.
        plans_name: the name of the plans; None for the planner's own.
        overwrite_target_spacing: see nnU-Net.
        suppress_transpose: see nnU-Net.
        gate_full_resolution: an option of the network, written into the plans.
        output_transform: likewise.
        gate_start: likewise; None for the network's default, which is not written into the plans.
    """

    default_plans_name: str

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        *,
        gate_full_resolution: bool = False,
        output_transform: bool = False,
        gate_start: str | None = None,
    ):
        target = {}
        if gpu_memory_target_in_gb is not None:
            target["gpu_memory_target_in_gb"] = gpu_memory_target_in_gb
        super().__init__(
            dataset_name_or_id,
            preprocessor_name=preprocessor_name,
            plans_name=plans_name or self.default_plans_name,
            overwrite_target_spacing=overwrite_target_spacing,
            suppress_transpose=suppress_transpose,
            **target,
        )
        self.gate_options: GateOptions = {
            "gate_full_resolution": gate_full_resolution,
            "output_transform": output_transform,
            "gate_start": gate_start,
        }

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Name the preprocessed data: the stock data if the preprocessing is the same.

        It is the same for 2d and 3d_fullres. The spacing of 3d_lowres follows from the patch, and
        the patch from the network, so its data are the plans' own, as in nnU-Net's residual
        presets.
        """
        as_stock = (
            configuration_name in ("2d", "3d_fullres")
            and self.overwrite_target_spacing is None
            and self.preprocessor_name == "DefaultPreprocessor"
            and not self.suppress_transpose
        )
        return f"{STOCK_PLANS if as_stock else self.plans_identifier}_{configuration_name}"

    def static_estimate_VRAM_usage(  # noqa: N802 nnU-Net's name
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict,
        arch_kwargs_req_import: Sequence[str],
    ):
        """Estimate the gated network's size as nnU-Net does: the values in a case's feature maps.

        Unlike in nnU-Net this is not a static method, as it needs the gates' options; nnU-Net calls
        it on the planner.
        """
        gated = gated_architecture(
            {"network_class_name": arch_class_name, "arch_kwargs": arch_kwargs}, **self.gate_options
        )
        # Only sizes are needed, and on the meta device no weights are allocated.
        with torch.device("meta"), planning_in_this_process():
            return super().static_estimate_VRAM_usage(
                patch_size,
                input_channels,
                output_channels,
                gated["network_class_name"],
                gated["arch_kwargs"],
                arch_kwargs_req_import,
            )

    def get_plans_for_configuration(self, *args, **kwargs) -> dict:
        """Plan one configuration, which names the gated network by its import path."""
        plan = super().get_plans_for_configuration(*args, **kwargs)
        return {
            **plan,
            "architecture": gated_architecture(plan["architecture"], **self.gate_options),
        }

    def save_plans(self, plans: dict) -> None:
        """Write the plans file; configurations added to an existing file are kept.

        Raises:
            CommandError: if there is a plans file with other content.
        """
        recursive_fix_for_json_export(plans)
        save_plans(
            plans,
            Path(nnUNet_preprocessed, self.dataset_name, f"{self.plans_identifier}.json"),
        )


class AttentionUNetPlanner(_GatedNetworks):
    """Plans `AttentionUNet`, for 8 GB unless told otherwise."""

    default_plans_name = plans_written_by("AttentionUNetPlanner")


class AttentionResEncUNetPlannerM(_GatedNetworks, nnUNetPlannerResEncM):
    """Plans `AttentionResidualEncoderUNet` as nnU-Net's preset M, for 8 GB."""

    default_plans_name = plans_written_by("AttentionResEncUNetPlannerM")


class AttentionResEncUNetPlannerL(_GatedNetworks, nnUNetPlannerResEncL):
    """Plans `AttentionResidualEncoderUNet` as nnU-Net's preset L, for 24 GB."""

    default_plans_name = plans_written_by("AttentionResEncUNetPlannerL")


class AttentionResEncUNetPlannerXL(_GatedNetworks, nnUNetPlannerResEncXL):
    """Plans `AttentionResidualEncoderUNet` as nnU-Net's preset XL, for 40 GB."""

    default_plans_name = plans_written_by("AttentionResEncUNetPlannerXL")


PLANNERS: dict[str, type[ExperimentPlanner]] = {
    planner.__name__: planner
    for planner in (
        AttentionUNetPlanner,
        AttentionResEncUNetPlannerM,
        AttentionResEncUNetPlannerL,
        AttentionResEncUNetPlannerXL,
    )
}
