"""The common base of our trainers: what they add to nnU-Net's, whatever network they train."""

from functools import partial

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.predictor import uncompiled
from nnunet_attention.trainers.loaded_weights import weights_being_loaded
from nnunet_attention.trainers.memory import KeepsFreedMemory
from nnunet_attention.trainers.precision import MixedPrecisionOnCPU
from nnunet_attention.trainers.seeding import Seedable
from nnunet_attention.trainers.validation import ContinuesValidation
from nnunet_attention.weights.checkpoint import without_prefixes
from nnunet_attention.weights.source import GATES


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
        # Not a method: whoever copies the network must not copy the trainer.
        check = partial(_refuse_lost_gates, type(self).__name__)
        bare_network(self.network).register_load_state_dict_post_hook(check)


def _refuse_lost_gates(trainer_name: str, network: nn.Module, _: object) -> None:
    """Refuse weights of `-pretrained_weights` that have gates which the network lacks.

    nnU-Net finds all tensors that it looks for, and ignores the others.

    Raises:
        CommandError: if there are such gates.
    """
    loaded = weights_being_loaded()
    if loaded is None:
        return
    weights = without_prefixes(loaded.checkpoint.get("network_weights", {}))
    gates = {name for name in weights if name.startswith(GATES)}
    lost = sorted(gates - set(network.state_dict()))
    if not lost:
        return
    if lost == sorted(gates):
        raise CommandError(
            f"-pretrained_weights {loaded.path}: they have gates, and the network of "
            f"{trainer_name} has none. It would compute something else, as weights behind gates "
            "are doubled; make weights without gates with nnunet-attention upgrade -d --plain"
        )
    raise CommandError(
        f"-pretrained_weights {loaded.path}: the network of the plans has no place for "
        f"{lost[0]}{f' and {len(lost) - 1} other tensors' if lost[1:] else ''} of the weights' "
        "gates, and would compute something else without them; train with plans that have the "
        "same gates (nnunet-attention plan --from, with --gate_full_resolution or "
        "--output_transform), or fit the weights to these plans with nnunet-attention upgrade -d"
    )


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
