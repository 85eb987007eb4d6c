"""Defines the networks' sizes: nnU-Net's plans for the Medical Segmentation Decathlon."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from math import prod

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import Tensor, nn

_NETWORKS = "dynamic_network_architectures.architectures.unet"


@dataclass(frozen=True)
class Case:
    """Holds one configuration: input, output, and nnU-Net's description of the network.

    Attributes:
        name: name of the data set and the planner.
        architecture: as in plans.json.
        batch_size: cases per training step.
        patch_size: in voxels, (z, y, x).
        batch_dice: whether the loss treats the batch as one case.
        planned: (batch size, patch size) of the plans, where they are reduced here.
    """

    name: str
    architecture: dict
    batch_size: int
    patch_size: tuple[int, int, int]
    batch_dice: bool
    planned: tuple[int, tuple[int, int, int]] | None = None
    input_channels: int = 1
    classes: int = 3

    @property
    def configuration(self) -> ConfigurationManager:
        """A copy of the configuration, which the builders of networks may change."""
        return ConfigurationManager({"architecture": copy.deepcopy(self.architecture)})

    @property
    def strides(self) -> list[list[int]]:
        """The strides of the encoder's stages, highest resolution first."""
        return self.architecture["arch_kwargs"]["strides"]

    @property
    def features(self) -> list[int]:
        """Channels of the encoder's stages, highest resolution first."""
        return self.architecture["arch_kwargs"]["features_per_stage"]

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Sizes of the features of the encoder's stages, (z, y, x), highest resolution first."""
        sizes, size = [], self.patch_size
        for stride in self.strides:
            size = tuple(voxels // step for voxels, step in zip(size, stride, strict=True))
            sizes.append(size)
        return sizes

    def reduced(self, batch_size: int, patch_size: tuple[int, int, int]) -> Case:
        """Return the same network on less data, for a small machine."""
        planned = self.planned or (self.batch_size, self.patch_size)
        return replace(self, batch_size=batch_size, patch_size=patch_size, planned=planned)

    def smallest(self) -> Case:
        """Return the same network on the least possible data; its numbers mean nothing."""
        steps = [prod(axis) for axis in zip(*self.strides, strict=True)]
        # Instance norm needs two voxels at the bottleneck.
        return self.reduced(1, (2 * steps[0], *steps[1:]))

    def patch(self, device: torch.device, batch_size: int | None = None) -> Tensor:
        """Draw noise, (B, C, *S), normally distributed as nnU-Net's normalised images are."""
        shape = (batch_size or self.batch_size, self.input_channels, *self.patch_size)
        return torch.randn(shape, device=device)

    def targets(self, device: torch.device) -> list[Tensor]:
        """Draw labels for each resolution of deep supervision, (B, 1, *S), highest first."""
        # The bottleneck has no output.
        shapes = [(self.batch_size, 1, *size) for size in self.sizes[:-1]]
        return [torch.randint(0, self.classes, shape, device=device).float() for shape in shapes]

    def loss(self) -> nn.Module:
        """Build nnU-Net's loss with its weights: halved at each resolution, the last one left out.

        It is built here because nnU-Net's trainer makes it only for a data set on disk.
        """
        dice = {"batch_dice": self.batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
        loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
        outputs = len(self.strides) - 1
        weights = [0.5**number for number in range(outputs - 1)] + [0.0]
        return DeepSupervisionWrapper(loss, [weight / sum(weights) for weight in weights])


def _architecture(
    network: str, per_stage: dict, features: list[int], strides: list, first_kernel: list[int]
) -> dict:
    kernels = [first_kernel, *[[3, 3, 3]] * (len(features) - 1)]
    return {
        "network_class_name": f"{_NETWORKS}.{network}",
        "arch_kwargs": {
            "n_stages": len(features),
            "features_per_stage": features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": kernels,
            "strides": strides,
            **per_stage,
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


# As planned by nnU-Net 2 with its default planner and with ResEnc L; configuration 3d_fullres.
HIPPOCAMPUS = Case(
    "Task04_Hippocampus",
    _architecture(
        "PlainConvUNet",
        {"n_conv_per_stage": [2] * 4, "n_conv_per_stage_decoder": [2] * 3},
        [32, 64, 128, 256],
        [[1, 1, 1], *[[2, 2, 2]] * 3],
        [3, 3, 3],
    ),
    batch_size=9,
    patch_size=(40, 56, 40),
    batch_dice=False,
)
PANCREAS = Case(
    "Task07_Pancreas",
    _architecture(
        "PlainConvUNet",
        {"n_conv_per_stage": [2] * 6, "n_conv_per_stage_decoder": [2] * 5},
        [32, 64, 128, 256, 320, 320],
        [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 3, [1, 2, 2]],
        [1, 3, 3],
    ),
    batch_size=2,
    patch_size=(40, 224, 224),
    batch_dice=True,
)
PANCREAS_RESENC_L = Case(
    "Task07_Pancreas ResEnc L",
    _architecture(
        "ResidualEncoderUNet",
        {"n_blocks_per_stage": [1, 3, 4, 6, 6, 6, 6], "n_conv_per_stage_decoder": [1] * 6},
        [32, 64, 128, 256, 320, 320, 320],
        [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 3, *[[1, 2, 2]] * 2],
        [1, 3, 3],
    ),
    batch_size=2,
    patch_size=(56, 320, 256),
    batch_dice=False,
)
FULL = {"hippocampus": HIPPOCAMPUS, "pancreas": PANCREAS, "resenc": PANCREAS_RESENC_L}
# A step takes one to two seconds on two cores.
REDUCED = {
    "hippocampus": HIPPOCAMPUS.reduced(2, HIPPOCAMPUS.patch_size),
    "pancreas": PANCREAS.reduced(1, (16, 96, 96)),
    "resenc": PANCREAS_RESENC_L.reduced(1, (16, 64, 64)),
}
