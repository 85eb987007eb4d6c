"""Trainers that start from pretrained weights: attention U-Net, and plain U-Net as its control."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import (
    nnUNetTrainerNoMirroring,
)
from nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs import (
    nnUNetTrainer_1epoch,
    nnUNetTrainer_5epochs,
    nnUNetTrainer_10epochs,
    nnUNetTrainer_20epochs,
    nnUNetTrainer_50epochs,
    nnUNetTrainer_100epochs,
    nnUNetTrainer_250epochs,
    nnUNetTrainer_500epochs,
)
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.utils.hooks import RemovableHandle

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.normalisation import without_views
from nnunet_attention.networks.wide import build_plain_network
from nnunet_attention.nnunet.dataset_json import channel_names
from nnunet_attention.nnunet.pretraining import (
    CHECKPOINT_PATH,
    CITATIONS,
    PRETRAIN_INFO,
    check_digest,
    citation_lines,
    pretrain_info,
    with_whole_networks,
)
from nnunet_attention.trainers.attention import AttentionUNetTrainer
from nnunet_attention.trainers.foundation import FoundationTrainer, bare_network
from nnunet_attention.trainers.loaded_weights import LoadedWeights, weights_being_loaded
from nnunet_attention.trainers.short import nnUNetTrainer_short
from nnunet_attention.weights.adaptation import adapt, load_adapted
from nnunet_attention.weights.checkpoint import load_checkpoint
from nnunet_attention.weights.source import PRETRAINED_FROM, citations_of, read_source
from nnunet_attention.weights.start import check_share

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object

# nnU-Net's development branch fine-tunes from nnssl's checkpoints in this way: with a tenth of
# nnU-Net's rate, reached after a twentieth of 1000 epochs.
INITIAL_RATE = 1e-3
_NNUNET_RATE = 1e-2
WARM_UP_SHARE = 20


def warm_up_epochs(epochs: int) -> int:
    """Return how many epochs the rate rises: a twentieth, at least two and at most all."""
    return min(epochs, max(2, math.ceil(epochs / WARM_UP_SHARE)))


class WarmUpLRScheduler(PolyLRScheduler):
    """Raises the learning rate linearly, and then lowers it as nnU-Net does.

    The rate depends on the epoch alone, so that a resumed training continues with the right one.

    Args:
        optimizer: the optimizer. Its first group of parameters is trained from the beginning; all
            further groups wait for the end of `head_start`.
        initial_lr: the highest rate.
        max_steps: the total number of epochs.
        head_start: the number of epochs in which only the first group is trained; its rate rises in
            these, and then the rates of all groups rise together.
    """

    def __init__(self, optimizer, initial_lr: float, max_steps: int, head_start: int = 0):
        self.rise = warm_up_epochs(max_steps)
        self.head_start = head_start
        self.epochs = max_steps
        rest = max(max_steps - head_start - self.rise, 1)
        super().__init__(optimizer, initial_lr, rest)

    def step(self, current_step=None) -> None:
        """Set the rates of an epoch; if none is given, of the one after the previous call's."""
        if current_step is None or current_step == -1:
            current_step = self.ctr
            self.ctr += 1
        alone = current_step < self.head_start
        since = current_step if alone else current_step - self.head_start
        if since < self.rise:
            rate = self.initial_lr * (since + 1) / self.rise
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self._last_lr = [rate for _ in self.optimizer.param_groups]
        else:
            super().step(min(since - self.rise, self.max_steps))
        if alone:
            for group in self.optimizer.param_groups[1:]:
                group["lr"] = 0.0


class _Finetuning(_Trainer):
    """Starts from pretrained weights, with a rising learning rate; mixed into a trainer.

    The weights are those that the plans name (`pretrain_info`, which `nnunet-attention plan --like`
    writes), or those of `nnUNetv2_train -pretrained_weights`, which are loaded later and win.
    Without either nothing is trained. The learning rate rises linearly to 0.001, in a twentieth of
    the epochs, and then falls as nnU-Net's does. Deep supervision is on unless the plans'
    `arch_kwargs` turn it off.
    """

    # Whether the encoder waits until the learning rate of decoder and gates has risen.
    decoder_first = False
    # The trainer of the same network that needs no pretrained weights, for the error message.
    from_scratch = "AttentionUNetTrainer"
    initial_lr: float
    _was_loaded = False
    _continues = False
    _loading_hook: RemovableHandle | None = None
    # Why the weights that the plans name cannot be used; those of `-pretrained_weights` still can.
    _failure: CommandError | None = None

    # The signature must be nnUNetTrainer's: it stores the arguments by the names found here.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 as in nnUNetTrainer
    ):
        # What is passed on is also what nnU-Net saves beside the model and in its checkpoints.
        plans = with_whole_networks(plans)
        super().__init__(plans, configuration, fold, dataset_json, device)
        # Another rate is that of a trainer from which a user's class is derived as well.
        if self.initial_lr == _NNUNET_RATE:
            self.initial_lr = INITIAL_RATE
        arguments = self.configuration_manager.network_arch_init_kwargs
        self.enable_deep_supervision &= bool(arguments.get("deep_supervision", True))

    @property
    def head_start(self) -> int:
        """The number of epochs in which the encoder waits, at most half of all."""
        waits = min(warm_up_epochs(self.num_epochs), self.num_epochs // 2)
        return waits if self.decoder_first else 0

    def initialize(self) -> None:
        """Initialise as nnU-Net does, and load the weights that the plans name.

        If they cannot be loaded, those of `-pretrained_weights` still can, later.
        """
        super().initialize()
        if self._continues:
            return
        info = self._pretrain_info()
        path = info.get(CHECKPOINT_PATH)
        if isinstance(path, str) and _is_there(Path(path)):
            try:
                check_digest(Path(path), info)
                self._start_from(Path(path))
            except CommandError as error:
                self._failure = error
        elif path:
            self._failure = CommandError(
                f"the plans' pretrained weights are no longer there: {path}; put the file back, "
                "plan again with nnunet-attention plan --like and its new path, or give "
                "-pretrained_weights (nnunet-attention upgrade -d)"
            )
        self._loading_hook = self._bare_network().register_load_state_dict_post_hook(
            self._note_loading
        )

    def configure_optimizers(self) -> tuple:
        """Return nnU-Net's optimizer, and the scheduler of fine-tuning.

        Raises:
            CommandError: if a class that this one is derived from has a scheduler of its own.
        """
        optimizer, scheduler = super().configure_optimizers()
        if type(scheduler) is not PolyLRScheduler:
            raise CommandError(
                f"{type(self).__name__} is derived from a trainer with the scheduler "
                f"{type(scheduler).__name__}, and fine-tuning has a schedule of the learning rate "
                f"of its own, which would replace it; derive from {self.from_scratch} and give "
                "-pretrained_weights to keep that scheduler, or leave that trainer out"
            )
        if self.decoder_first:
            encoder = {id(parameter) for parameter in self._bare_network().encoder.parameters()}
            (group,) = optimizer.param_groups
            waiting = [parameter for parameter in group["params"] if id(parameter) in encoder]
            group["params"] = [
                parameter for parameter in group["params"] if id(parameter) not in encoder
            ]
            optimizer.add_param_group({"params": waiting})
        scheduler = WarmUpLRScheduler(optimizer, self.initial_lr, self.num_epochs, self.head_start)
        return optimizer, scheduler

    def load_checkpoint(self, *checkpoint, **named) -> None:
        """Resume as nnU-Net does; the weights that the plans name are then no longer needed.

        nnU-Net's parameter has different names in releases and in the development branch.
        """
        self._continues = True
        super().load_checkpoint(*checkpoint, **named)
        (given,) = (*checkpoint, *named.values())
        if not isinstance(given, Mapping):
            given = load_checkpoint(given)
        # The plans of this training may name other weights than those that it began with.
        self._set_pretrain_info(given["init_args"]["plans"].get(PRETRAIN_INFO))

    def on_train_start(self) -> None:
        """Start as nnU-Net does, and log the works to cite.

        Raises:
            CommandError: if no pretrained weights were loaded: there are none, they cannot be read,
                or they do not fit.
        """
        if not self.was_initialized:
            self.initialize()
        if not (self._was_loaded or self._continues):
            raise self._failure or CommandError(
                f"{type(self).__name__} starts from pretrained weights but has none: plan with "
                "nnunet-attention plan --like and train with these plans (-p), or give "
                f"-pretrained_weights; to train from scratch, use {self.from_scratch}"
            )
        if self._loading_hook is not None:
            # Whoever copies the network from now on must not copy the trainer.
            self._loading_hook.remove()
            self._loading_hook = None
        super().on_train_start()
        for line in citation_lines(self._pretrain_info().get(CITATIONS)):
            self.print_to_log_file(line, add_timestamp=False)

    def on_train_epoch_start(self) -> None:
        """Start as nnU-Net does; once the encoder has waited, its momentum is reset."""
        super().on_train_epoch_start()
        if self.decoder_first and self.current_epoch == self.head_start:
            for group in self.optimizer.param_groups[1:]:
                for parameter in group["params"]:
                    self.optimizer.state.pop(parameter, None)
            self.print_to_log_file("From this epoch on, the encoder is trained too")

    def _start_from(self, path: Path) -> None:
        source = read_source(path)
        network = self._bare_network()
        images = len(channel_names(self.dataset_json))
        adaptation = adapt(source, network, images, heads=False)
        check_share(adaptation, source, None)
        load_adapted(network, adaptation)
        self._was_loaded = True
        self.print_to_log_file(
            f"The network starts from {path}: {adaptation.encoder_share:.1%} of the encoder's "
            "weights come from there"
        )
        for outcome in adaptation.outcomes:
            if outcome.reason:
                self.print_to_log_file(
                    f"  {outcome.outcome}: {outcome.name}, {outcome.reason}",
                    also_print_to_console=False,
                    add_timestamp=False,
                )
        for note in adaptation.notes:
            self.print_to_log_file(f"  {note}")

    def _pretrain_info(self) -> dict:
        info = self.plans_manager.plans.get(PRETRAIN_INFO)
        return info if isinstance(info, dict) else {}

    def _bare_network(self) -> Any:
        return bare_network(self.network)

    def _set_pretrain_info(self, info: dict | None) -> None:
        """Put the weights that the training began with into the plans that are saved with it."""
        if info is None:
            self.plans_manager.plans.pop(PRETRAIN_INFO, None)
        else:
            self.plans_manager.plans[PRETRAIN_INFO] = info

    def _note_loading(self, *_: object) -> None:
        """Note that weights were loaded from outside, whichever they are."""
        if self._continues:
            return
        loaded = weights_being_loaded()
        if self._was_loaded:
            self.print_to_log_file(
                "The weights of -pretrained_weights replace those that the plans name"
            )
        self._was_loaded = True
        self._set_pretrain_info(None if loaded is None else self._info_of(loaded))

    def _info_of(self, loaded: LoadedWeights) -> dict:
        """Log what the network starts from, and return the entry of plans that says so."""
        path = loaded.path.absolute()
        self.print_to_log_file(f"The network starts from {path}, the -pretrained_weights")
        info = pretrain_info(
            path,
            path.stem,
            len(channel_names(self.dataset_json)),
            self.configuration_manager.patch_size,
            citations_of(loaded.checkpoint),
            residual=hasattr(self._bare_network().encoder, "stem"),
        )
        made_from = loaded.checkpoint.get(PRETRAINED_FROM)
        if isinstance(made_from, Mapping):
            told = {
                name: value
                for name, value in made_from.items()
                if isinstance(name, str) and isinstance(value, (str, float))
            }
            self.print_to_log_file(
                "  made from " + ", ".join(f"{name} {value}" for name, value in told.items())
            )
            info[PRETRAINED_FROM] = told
        return info


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that others may not look into
        return False


class AttentionUNetFinetuneTrainer(_Finetuning, AttentionUNetTrainer):
    """Trains the plans' U-Net with attention gates from pretrained weights."""


class AttentionUNetFinetuneTrainer_decoderFirst(AttentionUNetFinetuneTrainer):
    """Trains decoder and gates alone at first, then everything.

    They are alone for a twentieth of the epochs, at least two and at most half of all.
    """

    decoder_first = True


class PlainUNetFinetuneTrainer(_Finetuning, FoundationTrainer):
    """Trains the plans' U-Net without gates from the same weights, as the control.

    If the plans name the attention U-Net, its plain counterpart is trained.
    """

    from_scratch = "nnUNetTrainer with plans without gates"

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the plain counterpart of the network that the plans name.

        Its normalisations are those of the attention U-Net, with which it is compared.

        Raises:
            UnsupportedNetworkError: if the plans name neither PlainConvUNet nor
                ResidualEncoderUNet.
        """
        network = build_plain_network(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return without_views(network)


class PlainUNetFinetuneTrainer_decoderFirst(PlainUNetFinetuneTrainer):
    """Trains the decoder alone at first, as the control of the same training with gates.

    It is alone for as many epochs as decoder and gates are there.
    """

    decoder_first = True


class AttentionUNetFinetuneTrainer_noMirroring(
    AttentionUNetFinetuneTrainer, nnUNetTrainerNoMirroring
):
    """Trains and predicts without mirroring, as for weights that tell left from right.

    TotalSegmentator's, for example, were trained in this way.
    """


class PlainUNetFinetuneTrainer_noMirroring(PlainUNetFinetuneTrainer, nnUNetTrainerNoMirroring):
    """Trains and predicts without mirroring, as the control of the same training with gates."""


class _nnUNetTrainer_150epochs(nnUNetTrainer):
    """Trains for 150 epochs, a length that nnU-Net's releases do not have."""

    # The signature must be nnUNetTrainer's: it stores the arguments by the names found here.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 as in nnUNetTrainer
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 150


class AttentionUNetFinetuneTrainer_1epoch(AttentionUNetFinetuneTrainer, nnUNetTrainer_1epoch):
    """Trains for one epoch."""


class AttentionUNetFinetuneTrainer_5epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_5epochs):
    """Trains for five epochs."""


class AttentionUNetFinetuneTrainer_10epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_10epochs):
    """Trains for ten epochs."""


class AttentionUNetFinetuneTrainer_20epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_20epochs):
    """Trains for 20 epochs."""


class AttentionUNetFinetuneTrainer_50epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_50epochs):
    """Trains for 50 epochs."""


class AttentionUNetFinetuneTrainer_100epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_100epochs):
    """Trains for 100 epochs."""


class AttentionUNetFinetuneTrainer_150epochs(
    AttentionUNetFinetuneTrainer, _nnUNetTrainer_150epochs
):
    """Trains for 150 epochs."""


class AttentionUNetFinetuneTrainer_250epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_250epochs):
    """Trains for 250 epochs."""


class AttentionUNetFinetuneTrainer_500epochs(AttentionUNetFinetuneTrainer, nnUNetTrainer_500epochs):
    """Trains for 500 epochs."""


class AttentionUNetFinetuneTrainer_short(AttentionUNetFinetuneTrainer, nnUNetTrainer_short):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""


class AttentionUNetFinetuneTrainer_decoderFirst_1epoch(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_1epoch
):
    """Trains for one epoch."""


class AttentionUNetFinetuneTrainer_decoderFirst_5epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_5epochs
):
    """Trains for five epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_10epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_10epochs
):
    """Trains for ten epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_20epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_20epochs
):
    """Trains for 20 epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_50epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_50epochs
):
    """Trains for 50 epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_100epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_100epochs
):
    """Trains for 100 epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_150epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, _nnUNetTrainer_150epochs
):
    """Trains for 150 epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_250epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_250epochs
):
    """Trains for 250 epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_500epochs(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_500epochs
):
    """Trains for 500 epochs."""


class AttentionUNetFinetuneTrainer_decoderFirst_short(
    AttentionUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_short
):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""


class PlainUNetFinetuneTrainer_1epoch(PlainUNetFinetuneTrainer, nnUNetTrainer_1epoch):
    """Trains for one epoch."""


class PlainUNetFinetuneTrainer_5epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_5epochs):
    """Trains for five epochs."""


class PlainUNetFinetuneTrainer_10epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_10epochs):
    """Trains for ten epochs."""


class PlainUNetFinetuneTrainer_20epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_20epochs):
    """Trains for 20 epochs."""


class PlainUNetFinetuneTrainer_50epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_50epochs):
    """Trains for 50 epochs."""


class PlainUNetFinetuneTrainer_100epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_100epochs):
    """Trains for 100 epochs."""


class PlainUNetFinetuneTrainer_150epochs(PlainUNetFinetuneTrainer, _nnUNetTrainer_150epochs):
    """Trains for 150 epochs."""


class PlainUNetFinetuneTrainer_250epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_250epochs):
    """Trains for 250 epochs."""


class PlainUNetFinetuneTrainer_500epochs(PlainUNetFinetuneTrainer, nnUNetTrainer_500epochs):
    """Trains for 500 epochs."""


class PlainUNetFinetuneTrainer_short(PlainUNetFinetuneTrainer, nnUNetTrainer_short):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""


class PlainUNetFinetuneTrainer_decoderFirst_1epoch(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_1epoch
):
    """Trains for one epoch."""


class PlainUNetFinetuneTrainer_decoderFirst_5epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_5epochs
):
    """Trains for five epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_10epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_10epochs
):
    """Trains for ten epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_20epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_20epochs
):
    """Trains for 20 epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_50epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_50epochs
):
    """Trains for 50 epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_100epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_100epochs
):
    """Trains for 100 epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_150epochs(
    PlainUNetFinetuneTrainer_decoderFirst, _nnUNetTrainer_150epochs
):
    """Trains for 150 epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_250epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_250epochs
):
    """Trains for 250 epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_500epochs(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_500epochs
):
    """Trains for 500 epochs."""


class PlainUNetFinetuneTrainer_decoderFirst_short(
    PlainUNetFinetuneTrainer_decoderFirst, nnUNetTrainer_short
):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""
