"""What all our trainers do on top of nnU-Net's, whatever network they train."""

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
    """Trains as nnU-Net does, with what all our trainers have; nnU-Net does not find it."""


def bare_network(network: nn.Module) -> nn.Module:
    """Return a network as it was before it was compiled and distributed, as nnU-Net does both."""
    return uncompiled(network.module if isinstance(network, DistributedDataParallel) else network)
