"""The common base of our trainers: what they add to nnU-Net's, whatever network they train."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.predictor import uncompiled
from nnunet_attention.trainers.memory import KeepsFreedMemory
from nnunet_attention.trainers.precision import MixedPrecisionOnCPU
from nnunet_attention.trainers.seeding import Seedable
from nnunet_attention.trainers.validation import ContinuesValidation


class FoundationTrainer(
    KeepsFreedMemory, MixedPrecisionOnCPU, Seedable, ContinuesValidation, nnUNetTrainer
):
    """Trains as nnU-Net does, with the common additions of our trainers; not found by nnU-Net."""

    def initialize(self) -> None:
        """Initialise as nnU-Net does, unless one of the trainer's bases would do nothing.

        Raises:
            CommandError: if a base builds a network that another base's network hides.
        """
        builder, hidden = _builders(type(self))
        if hidden is not None:
            raise CommandError(
                f"{type(self).__name__} trains the network of {builder.__name__}, and not that of "
                f"{hidden.__name__}, from which it is derived too: both build one, and the first "
                f"wins. Train with {hidden.__name__} alone and plans that name the gates "
                "(nnunet-attention plan --from), or give the class a build_network_architecture of "
                "its own"
            )
        super().initialize()


def _builders(trainer: type[nnUNetTrainer]) -> tuple[type, type | None]:
    """Return the class whose network a trainer builds, and one whose network that hides, or None.

    A class may override what its own bases build; what it hides are classes beside it.
    """
    builder, *others = (
        base for base in trainer.__mro__ if "build_network_architecture" in vars(base)
    )
    return builder, next((base for base in others if base not in builder.__mro__), None)


def bare_network(network: nn.Module) -> nn.Module:
    """Return a network as it was before nnU-Net compiled and distributed it."""
    return uncompiled(network.module if isinstance(network, DistributedDataParallel) else network)
