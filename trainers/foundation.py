"""The common base of our trainers: what they add to nnU-Net's, whatever network they train."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_attention.prediction.predictor import uncompiled
from nnunet_attention.trainers.memory import KeepsFreedMemory
from nnunet_attention.trainers.precision import MixedPrecisionOnCPU
from nnunet_attention.trainers.seeding import Seedable
from nnunet_attention.trainers.validation import ContinuesValidation


class FoundationTrainer(
    KeepsFreedMemory, MixedPrecisionOnCPU, Seedable, ContinuesValidation, nnUNetTrainer
):
    """Trains as nnU-Net does, with the common additions of our trainers; not found by nnU-Net."""


def bare_network(network: nn.Module) -> nn.Module:
    """Return a network as it was before nnU-Net compiled and distributed it."""
    return uncompiled(network.module if isinstance(network, DistributedDataParallel) else network)
