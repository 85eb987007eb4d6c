"""Checkpoints of small plain networks, as nnUNetTrainer.save_checkpoint writes them."""

from copy import deepcopy

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

DATASET_JSON = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "numTraining": 5,
    "file_ending": ".nii.gz",
}
PATCH = (4, 8, 16)
# Dimensions, residual encoder, strides per stage.
VARIANTS = {
    "plain 3d anisotropic": (3, False, [(1, 1, 1), (1, 2, 2), (2, 2, 2)]),
    "plain 3d": (3, False, [(1, 1, 1), (2, 2, 2), (2, 2, 2)]),
    "plain 2d": (2, False, [(1, 1), (2, 2), (2, 2), (2, 2)]),
    "residual 3d anisotropic": (3, True, [(1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 2)]),
    "residual 2d": (2, True, [(1, 1), (2, 2), (1, 2)]),
}


def plans_of(minimal_plans: dict, variant: str) -> dict:
    """The minimal plans with another network in their configuration `3d_fullres`."""
    dimensions, residual, strides = VARIANTS[variant]
    stages = len(strides)
    plans = deepcopy(minimal_plans)
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"] = list(PATCH[-dimensions:])
    architecture = configuration["architecture"]
    arguments = architecture["arch_kwargs"]
    arguments.update(
        n_stages=stages,
        features_per_stage=[4, 6, 8, 10][:stages],
        conv_op=f"torch.nn.modules.conv.Conv{dimensions}d",
        norm_op=f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        kernel_sizes=[[3] * dimensions] * stages,
        strides=[list(stride) for stride in strides],
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    blocks = arguments.pop("n_conv_per_stage")[:1] * stages
    arguments["n_blocks_per_stage" if residual else "n_conv_per_stage"] = blocks
    if residual:
        name = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
        architecture["network_class_name"] = name
    return plans


def network_of(trainer: type[nnUNetTrainer], plans: dict, **options) -> nn.Module:
    """The network that a trainer builds for the configuration `3d_fullres`."""
    manager = PlansManager(deepcopy(plans))
    configuration = manager.get_configuration("3d_fullres")
    return trainer.build_network_architecture(manager, configuration, 2, 3, **options)


def plain_checkpoint(
    plans: dict,
    dtype: torch.dtype = torch.float32,
    trainer: type[nnUNetTrainer] = nnUNetTrainer,
) -> dict:
    """A checkpoint whose parameters are all random, those of the norms too."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = network_of(trainer, plans).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    patch = plans["configurations"]["3d_fullres"]["patch_size"]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.99, nesterov=True)
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": None,
        "logging": {
            "mean_fg_dice": [np.float64(0.5)],
            "dice_per_class_or_region": [[np.float32(0.25), np.float64(0.75)]],
            "lrs": [0.01],
        },
        "_best_ema": np.float64(0.5),
        "current_epoch": 1,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": 0,
            "dataset_json": DATASET_JSON,
            "device": torch.device("cuda"),
        },
        "trainer_name": trainer.__name__,
        "inference_allowed_mirroring_axes": tuple(range(len(patch))),
    }


def random_image(plans: dict, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Shape (1, 2, *patch), the patch that the plans name."""
    patch = plans["configurations"]["3d_fullres"]["patch_size"]
    generator = torch.Generator().manual_seed(1)
    return torch.randn((1, 2, *patch), generator=generator, dtype=dtype)
