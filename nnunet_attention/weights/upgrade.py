"""Makes an attention checkpoint from a plain nnU-Net checkpoint; both compute the same."""

import contextlib
import functools
import io
import logging
import math
import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.files import require_writable
from nnunet_attention.networks import (
    attention_class_path,
    build_attention_network,
)
from nnunet_attention.networks.trusted_plans import build_from_plans, check_plans
from nnunet_attention.nnunet.lookups import find_trainer
from nnunet_attention.weights.checkpoint import (
    fault_of,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    without_prefixes,
)
from nnunet_attention.weights.function_preserving import start_from_plain

TRAINER_NAME = "AttentionUNetTrainer"
# As a share of the largest logit. Only a guard: gates that start at 0.5 make no difference at all,
# except where the linear upsampling of 0.5 rounds.
TOLERANCE = 1e-4
SEED = 0

_logger = logging.getLogger(__name__)


class UpgradedCheckpoint(NamedTuple):
    """A checkpoint for `AttentionUNetTrainer`, and how far its network is from the plain one.

    `difference` is the largest difference of logits on random input, all resolutions of deep
    supervision included.
    """

    checkpoint: dict
    difference: float


def upgrade_checkpoint(
    checkpoint: Mapping,
    *,
    plans: dict | None = None,
    dataset_json: dict | None = None,
    gate_full_resolution: bool = False,
) -> UpgradedCheckpoint:
    """Give the network of a checkpoint attention gates, and preserve its function.

    All entries that nnU-Net's commands read are kept, except for the optimizer: its state starts
    afresh, in the form that `AttentionUNetTrainer` loads, as the gates have no momentum yet.
    Resumed training (`--c`) and validation (`--val`) thus work, from the checkpoint's epoch on.

    Args:
        checkpoint: the result of `load_checkpoint`; it is not changed.
        plans: plans to build the network from, instead of those in the checkpoint.
        dataset_json: the data set's description, likewise.
        gate_full_resolution: gate the skip of the highest resolution too. The plans in the returned
            checkpoint then name the attention network with this option.

    Raises:
        CommandError: if the network is not nnU-Net's PlainConvUNet or ResidualEncoderUNet, has
            gates already, does not fit the plans, or if the function is not preserved.
    """
    weights = _plain_weights(checkpoint["network_weights"])
    init_arguments = checkpoint["init_args"]
    configuration_name = init_arguments["configuration"]
    plans = init_arguments["plans"] if plans is None else plans
    dataset_json = init_arguments["dataset_json"] if dataset_json is None else dataset_json
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    dtype = functools.reduce(torch.promote_types, dtypes or {torch.float32})

    with quiet(), torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed the GPUs, whose state is not restored.
        torch.random.default_generator.manual_seed(SEED)
        build = functools.partial(build_from_plans, plans, configuration_name, dataset_json)
        plain = build(functools.partial(build_as_trained, checkpoint["trainer_name"]))
        plain = plain.eval().to(dtype)
        attention = build(
            functools.partial(_build_attention, gate_full_resolution=gate_full_resolution)
        )
        attention = attention.eval().to(dtype)
        _load(plain, weights, configuration_name)
        try:
            start_from_plain(attention, plain.state_dict())
        except ValueError as error:
            raise CommandError(
                f"the trainer {checkpoint['trainer_name']} builds a network other than the plans "
                f"name, which cannot be upgraded: {error}"
            ) from error
        difference = difference_of_logits(plain, attention)

    upgraded = dict(checkpoint)
    upgraded["network_weights"] = attention.to(dtype).state_dict()
    upgraded["trainer_name"] = TRAINER_NAME
    upgraded["optimizer_state"] = _fresh_optimizer_state(attention)
    if gate_full_resolution:
        upgraded["init_args"] = {
            **init_arguments,
            "plans": plans_with_full_resolution_gate(init_arguments["plans"], configuration_name),
        }
    return UpgradedCheckpoint(upgraded, difference)


def upgrade_checkpoint_file(
    source: str | Path, target: str | Path, *, gate_full_resolution: bool = False
) -> UpgradedCheckpoint:
    """Read a plain checkpoint, and write the attention checkpoint that computes the same.

    Raises:
        CommandError: if `target` exists or cannot be written; also see `load_checkpoint` and
            `upgrade_checkpoint`. In this case nothing is written.
    """
    target = Path(target)
    check_free(target)
    checkpoint = load_checkpoint(source)
    try:
        upgraded = upgrade_checkpoint(checkpoint, gate_full_resolution=gate_full_resolution)
    except CommandError as error:
        raise CommandError(f"cannot upgrade {source}: {error}") from error
    save_checkpoint(upgraded.checkpoint, target)
    return upgraded


def check_free(target: Path) -> None:
    """Check that a checkpoint can be written, and that none would be overwritten.

    Raises:
        CommandError: with the remedy.
    """
    if target.exists():
        raise CommandError(f"{target} exists already; choose another name for -o, or remove it")
    require_writable(target.parent, "-o")
    if not target.parent.is_dir():
        raise CommandError(f"cannot write {target}: create the folder {target.parent} first")


def plans_with_full_resolution_gate(plans: dict, configuration_name: str) -> dict:
    """Return plans in which a configuration's network has a gate at the highest resolution too.

    Args:
        plans: nnU-Net's plans; not changed.
        configuration_name: the configuration to change, such as `3d_fullres`.

    Raises:
        CommandError: see `check_plans`.
    """
    with quiet():
        check_plans(plans, configuration_name)
        # Resolves inheritance and the names of old plans.
        architecture = deepcopy(
            PlansManager(plans).get_configuration(configuration_name).configuration["architecture"]
        )
    architecture["network_class_name"] = attention_class_path(architecture["network_class_name"])
    architecture["arch_kwargs"]["gate_full_resolution"] = True
    plans = deepcopy(plans)
    plans["configurations"][configuration_name]["architecture"] = architecture
    return plans


def _plain_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = without_prefixes(weights)
    if any(name.startswith("decoder.gates.") for name in plain):
        raise CommandError(
            "it is already an attention checkpoint: its network has decoder.gates; use it as it is"
        )
    for name, value in plain.items():
        fault = fault_of(name, value)
        if fault is not None:
            raise CommandError(fault)
    return plain


@contextlib.contextmanager
def quiet():
    """Suppress nnU-Net's output and warnings while it looks for classes."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build_as_trained(trainer_name: str, manager, configuration, inputs: int, outputs: int):
    """Build the network as the checkpoint's trainer does, which may not be the one in the plans.

    Raises:
        UnsupportedNetworkError: if there is no attention U-Net for the plans' network.
    """
    # Raises if the network has no gated counterpart.
    attention_class_path(configuration.network_arch_class_name)
    trainer: type[nnUNetTrainer]
    try:
        trainer = find_trainer(trainer_name)
    except CommandError as error:
        _logger.warning(
            "The trainer %s cannot be loaded here (%s). It is assumed to train the network that "
            "the plans name.",
            trainer_name,
            error,
        )
        trainer = nnUNetTrainer
    return trainer.build_network_architecture(
        manager, configuration, inputs, outputs, enable_deep_supervision=True
    )


def _build_attention(
    manager, configuration, inputs: int, outputs: int, *, gate_full_resolution: bool
) -> nn.Module:
    if gate_full_resolution:
        configuration.network_arch_init_kwargs["gate_full_resolution"] = True
    return build_attention_network(configuration, inputs, outputs, deep_supervision=True)


def _load(plain: nn.Module, weights: Mapping[str, Tensor], configuration_name: str) -> None:
    load_weights(
        plain,
        weights,
        f"the {type(plain).__name__} of the plans' configuration {configuration_name}",
    )


def difference_of_logits(plain: nn.Module, attention: nn.Module) -> float:
    """Return the largest difference between the two networks' logits on a small random input.

    Both networks are left in single precision or better.

    Raises:
        CommandError: if the difference exceeds rounding, or the logits differ in shape.
    """
    encoder: Any = attention.encoder  # nnU-Net's networks have no types
    size = [2 * math.prod(steps) for steps in zip(*encoder.strides, strict=True)]
    # Half precision is compared in single: not all of its operations exist on the CPU.
    first_layer = next(encoder.parameters())
    dtype = torch.promote_types(first_layer.dtype, torch.float32)
    image = torch.randn(1, first_layer.shape[1], *size, dtype=dtype)
    with torch.inference_mode():
        before = _as_list(plain.to(dtype)(image))
        after = _as_list(attention.to(dtype)(image))
    if [logits.shape for logits in before] != [logits.shape for logits in after]:
        raise CommandError(
            "the trainer's network returns logits of shapes other than those of the plans' network"
        )
    scale = max(logits.abs().max().item() for logits in before)
    difference = max(
        (plain_logits - logits).abs().max().item()
        for plain_logits, logits in zip(before, after, strict=True)
    )
    # Written so that NaN, which compares false, is refused too.
    if not difference <= TOLERANCE * max(scale, torch.finfo(dtype).tiny):
        raise CommandError(
            f"the upgraded network computes something else: on a random image of {size} voxels its "
            f"logits, which are up to {scale:g}, differ by up to {difference:g}; the trainer "
            "builds a network that the plans do not describe, or the weights are not finite"
        )
    return difference


def _as_list(logits: Tensor | list[Tensor]) -> list[Tensor]:
    return [logits] if isinstance(logits, Tensor) else list(logits)


def _fresh_optimizer_state(network: nn.Module) -> dict:
    # The values are those of nnUNetTrainer.configure_optimizers; it sets the rate in each epoch.
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-2, momentum=0.99, weight_decay=3e-5, nesterov=True
    )
    return optimizer.state_dict()
