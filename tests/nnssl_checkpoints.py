"""Checkpoints of small networks as nnssl writes them, made by hand."""

from copy import deepcopy
from pathlib import Path

import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import nn

STAGES = 3
CITATIONS = [
    {
        "type": "Architecture",
        "name": "ResEncL",
        "apa_citations": ["Isensee et al. (2024). nnU-Net revisited."],
    },
    {"type": "Pretraining", "name": "MAE", "bibtex_citations": ["@article{wald2024mae}"]},
]
# nnssl stores lists of numbers; modules by the path of their class.
ARGUMENTS = {
    "n_stages": STAGES,
    "features_per_stage": [4, 6, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * STAGES,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "n_blocks_per_stage": [1, 2, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.modules.activation.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}

# The `architecture` of plans that nnU-Net's development branch writes for OpenMind's ResEnc L.
ONLY_NAMED = {"network_class_name": "ResEncL", "arch_kwargs": None, "_kw_requires_import": None}


def source_network(channels: int = 1, dtype: torch.dtype = torch.float32) -> ResidualEncoderUNet:
    """The network of a masked autoencoder: one channel in and out, all parameters random."""
    modules = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = ResidualEncoderUNet(
            input_channels=channels, num_classes=1, **{**ARGUMENTS, **modules}
        ).to(dtype)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, dtype=dtype)
    return network.eval()


def nnssl_checkpoint(
    network: nn.Module | None = None, channels: int = 1, **plan_of_architecture
) -> dict:
    """What `torch.save` gets, by default with arch_kwargs; other entries of its plan can be set."""
    network = source_network(channels) if network is None else network
    configuration = {
        "data_identifier": "nnsslPlans_onemmiso",
        "preprocessor_name": "DefaultPreprocessor",
        "spacing_style": "onemmiso",
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "spacing": [1, 1, 1],
        "patch_size": (8, 8, 8),
    }
    return {
        "network_weights": network.state_dict(),
        "trainer_name": "BaseMAETrainer",
        "nnssl_adaptation_plan": {
            "architecture_plans": {
                "arch_class_name": "ResidualEncoderUNet",
                "arch_kwargs": deepcopy(ARGUMENTS),
                "arch_kwargs_requiring_import": ["conv_op", "norm_op", "nonlin"],
                **plan_of_architecture,
            },
            "pretrain_plan": {
                "dataset_name": "Dataset745_OpenMind",
                "plans_name": "nnsslPlans",
                "configurations": {"onemmiso": configuration},
            },
            "pretrain_num_input_channels": channels,
            "recommended_downstream_patchsize": (16, 16, 16),
            "key_to_encoder": "encoder.stages",
            "key_to_stem": "encoder.stem",
            "keys_to_in_proj": ("encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0"),
            "key_to_lpe": None,
        },
        "citations": deepcopy(CITATIONS),
    }


def save_nnssl(path: Path, **options) -> Path:
    """Save such a checkpoint."""
    torch.save(nnssl_checkpoint(**options), path)
    return path


def plans_like_source(minimal_plans: dict, **arguments) -> dict:
    """The minimal plans with the source's network, or one with other arguments."""
    plans = deepcopy(minimal_plans)
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"] = [16, 16, 16]
    configuration["architecture"] = {
        "network_class_name": (
            "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
        ),
        "arch_kwargs": {**deepcopy(ARGUMENTS), **arguments},
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    return plans
