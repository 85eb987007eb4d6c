"""Reads what a training can start from: a checkpoint of nnU-Net or of nnssl."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.from_plans import attention_class_path
from nnunet_attention.networks.plans_numbers import check_strides
from nnunet_attention.networks.trusted_plans import (
    building,
    check_architecture,
    check_plans,
    network_channels,
)
from nnunet_attention.networks.wide import GATE_OPTIONS, plain_class_path
from nnunet_attention.nnunet.checkpoints import BEST, FINAL
from nnunet_attention.nnunet.dataset_json import channel_names, channel_names_in_order
from nnunet_attention.nnunet.model_folders import ALL, fold_folders
from nnunet_attention.nnunet.pretraining import (
    ADAPTATION_PLAN,
    CITATIONS,
    KEY_TO_ENCODER,
    KEY_TO_STEM,
    PRETRAIN_INFO,
    Pretraining,
    SourceSettings,
    axes_order,
    plain_citations,
    plain_values,
    pretrain_info,
    read_adaptation_plan,
)
from nnunet_attention.weights.checkpoint import (
    check_entries,
    check_weights,
    load_safely,
    without_prefixes,
)
from nnunet_attention.weights.mirrored import mirrored_axes, mirroring_note
from nnunet_attention.weights.upgrade import quiet

NNUNET, NNSSL = "nnU-Net", "nnssl"
PRETRAINED_FROM = "pretrained_from"
"""The entry of a checkpoint to start from that says which weights it was made from."""
GATES = "decoder.gates."
"""How the names of a gated network's further weights begin."""


@dataclass(frozen=True)
class PretrainedSource:
    """Holds the weights that a training can start from, and how they were trained.

    Attributes:
        path: the checkpoint's path.
        kind: `NNUNET` or `NNSSL`.
        weights: by name; the encoder's names are those of nnU-Net's networks.
        architecture: the network's, as in plans; checked, with a gated network's options.
        image_channels: the input channels for images.
        previous_channels: the input channels for the segmentations of a cascade's first stage.
        decoder_left: why the decoder cannot be taken over; empty if it can.
        settings: how the images were prepared.
        configuration: the name of nnU-Net's configuration; None for nnssl.
        trainer: the name of nnU-Net's trainer; None for nnssl.
        citations: the works to cite.
        pretraining: nnssl's description of the pretraining; None for nnU-Net.
        mirrored: the axes of the patch along which the training mirrored images; None if unknown.
    """

    path: Path
    kind: str
    weights: dict[str, Tensor]
    architecture: dict
    image_channels: int
    previous_channels: int
    decoder_left: str
    settings: SourceSettings
    configuration: str | None = None
    trainer: str | None = None
    citations: tuple[dict, ...] = ()
    pretraining: Pretraining | None = None
    mirrored: tuple[int, ...] | None = None

    @property
    def plain_architecture(self) -> dict:
        """The network without gates, as in plans."""
        return without_gates(self.architecture)

    @property
    def is_residual(self) -> bool:
        """Tell whether the encoder is a residual one."""
        return self.plain_architecture["network_class_name"].endswith("ResidualEncoderUNet")

    @property
    def mirroring_note(self) -> str | None:
        """How to train on with weights that were trained with less mirroring than nnU-Net's."""
        return mirroring_note(self.mirrored, len(self.settings.patch_size))

    def as_pretrain_info(self) -> dict:
        """Return the entry of plans by which a training finds these weights."""
        return pretrain_info(
            self.path.absolute(),
            self.path.stem,
            self.image_channels,
            self.settings.patch_size,
            self.citations,
            pretraining=self.pretraining,
            residual=self.is_residual,
        )


def without_gates(architecture: Mapping) -> dict:
    """Return the `architecture` of plans with the plain network in place of the gated one."""
    path = attention_class_path(architecture["network_class_name"])
    return {
        **architecture,
        "network_class_name": plain_class_path(path),
        "arch_kwargs": {
            name: value
            for name, value in architecture["arch_kwargs"].items()
            if name not in GATE_OPTIONS
        },
    }


def is_of_nnssl(checkpoint: Mapping) -> bool:
    """Tell whether a checkpoint is nnssl's rather than nnU-Net's."""
    return ADAPTATION_PLAN in checkpoint


def read_source(path: Path, checkpoint: dict | None = None) -> PretrainedSource:
    """Read a checkpoint, or that of a model folder, and its description of its network.

    Args:
        path: of a checkpoint, or of a folder TRAINER__PLANS__CONFIGURATION, of which fold_all is
            used if it exists, else the first fold.
        checkpoint: its content, if it has been loaded already.

    Raises:
        CommandError: if it holds anything unsafe to load, does not say which network its weights
            belong to, or this network cannot have gates.
    """
    if path.is_dir():
        path = checkpoint_in(path)
    checkpoint = load_safely(path) if checkpoint is None else checkpoint
    if is_of_nnssl(checkpoint):
        return _of_nnssl(path, checkpoint)
    if "init_args" not in checkpoint and "network_weights" in checkpoint:
        raise CommandError(
            f"{path} does not say which network its weights belong to: it has neither nnssl's "
            f"{ADAPTATION_PLAN} nor nnU-Net's init_args; get the checkpoint from its source again, "
            "such as OpenMind's checkpoint_final.pth"
        )
    check_entries(path, checkpoint)
    return _of_nnunet(path, checkpoint)


def checkpoint_in(folder: Path) -> Path:
    """Find the checkpoint of a model folder that a training starts from.

    Raises:
        CommandError: if there is none.
    """
    folds = dict(fold_folders(folder))
    names = ([ALL] if ALL in folds else []) + sorted(folds)
    for name in names:
        for checkpoint in (FINAL, BEST):
            if (folds[name] / checkpoint).is_file():
                return folds[name] / checkpoint
    raise CommandError(
        f"{folder} has no trained fold: looked for fold_*/{FINAL} and fold_*/{BEST}; expected a "
        f"checkpoint, or the folder TRAINER__PLANS__CONFIGURATION of a model"
    )


def _of_nnssl(path: Path, checkpoint: Mapping) -> PretrainedSource:
    if "network_weights" not in checkpoint:
        raise CommandError(f"{path} has no network_weights; get it from its source again")
    check_weights(path, checkpoint["network_weights"])
    pretraining = read_adaptation_plan(checkpoint[ADAPTATION_PLAN], str(path))
    try:
        attention_class_path(pretraining.architecture["network_class_name"])
        check_architecture(pretraining.architecture)
        check_strides(pretraining.architecture, len(pretraining.settings.patch_size))
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error
    weights = _named_as_here(without_prefixes(checkpoint["network_weights"]), pretraining)
    if not any(name.startswith("encoder.") for name in weights):
        raise CommandError(
            f"{path}: no weight names begin with {pretraining.key_to_encoder} or "
            f"{pretraining.key_to_stem}, where its adaptation plan has the encoder; the plan "
            "belongs to another network"
        )
    return PretrainedSource(
        path,
        NNSSL,
        weights,
        pretraining.architecture,
        pretraining.channels,
        0,
        "it was made for the pretraining task",
        pretraining.settings,
        citations=tuple(plain_citations(checkpoint.get(CITATIONS))),
        pretraining=pretraining,
    )


def _named_as_here(weights: Mapping[str, Tensor], pretraining: Pretraining) -> dict[str, Tensor]:
    """Rename the encoder's weights as in nnU-Net's networks."""
    places = {
        f"{pretraining.key_to_stem}.": f"{KEY_TO_STEM}.",
        f"{pretraining.key_to_encoder}.": f"{KEY_TO_ENCODER}.",
    }
    # The plain U-Net's stem is part of its first stage.
    if pretraining.key_to_stem.startswith(f"{pretraining.key_to_encoder}."):
        del places[f"{pretraining.key_to_stem}."]
    named = {}
    for name, value in weights.items():
        for there, here in places.items():
            if name.startswith(there):
                named[here + name.removeprefix(there)] = value
                break
        else:
            # Another network's in the same file, such as the teacher's beside a student.
            is_other = name.startswith(tuple(places.values()))
            named[f"other.{name}" if is_other else name] = value
    return named


def _of_nnunet(path: Path, checkpoint: Mapping) -> PretrainedSource:
    init_arguments = checkpoint["init_args"]
    plans, name = init_arguments["plans"], init_arguments["configuration"]
    try:
        with quiet():
            check_plans(plans, name)
        with quiet(), building(name):
            # Resolves inheritance and the names of old plans.
            manager = PlansManager(dict(plans))
            configuration = manager.get_configuration(name)
            content = configuration.configuration
        attention_class_path(content["architecture"]["network_class_name"])
        with building(name):
            check_strides(content["architecture"], len(content["patch_size"]))
            channels, _ = network_channels(manager, configuration, init_arguments["dataset_json"])
            names = channel_names(init_arguments["dataset_json"])
            settings = _settings_of(plain_values(plans), plain_values(content), names)
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error
    images = len(names)
    weights = without_prefixes(checkpoint["network_weights"])
    gated = any(name.startswith(GATES) for name in weights)
    return PretrainedSource(
        path,
        NNUNET,
        weights,
        plain_values(content["architecture"]),
        images,
        channels - images,
        "it was trained behind gates" if gated else "",
        settings,
        name,
        checkpoint["trainer_name"],
        tuple(citations_of(checkpoint)),
        mirrored=mirrored_axes(checkpoint),
    )


def citations_of(checkpoint: Mapping) -> list[dict]:
    """Return the works that people who use a checkpoint of nnU-Net should cite.

    They come from what it was made from, or else from what its plans name as its start.
    """
    if PRETRAINED_FROM in checkpoint:
        return plain_citations(_part(checkpoint, PRETRAINED_FROM).get(CITATIONS))
    plans = _part(_part(checkpoint, "init_args"), "plans")
    return plain_citations(_part(plans, PRETRAIN_INFO).get(CITATIONS))


def _settings_of(plans: Mapping, configuration: Mapping, names: Mapping) -> SourceSettings:
    intensities = plans.get("foreground_intensity_properties_per_channel")
    if intensities is not None and not (
        isinstance(intensities, Mapping)
        and all(str(channel).isdecimal() for channel in intensities)
    ):
        raise CommandError(
            f"the plans have {str(intensities)[:80]} for "
            f"foreground_intensity_properties_per_channel; expected an entry for each channel's "
            f"number"
        )
    return SourceSettings(
        tuple(float(step) for step in configuration["spacing"]),
        tuple(int(size) for size in configuration["patch_size"]),
        tuple(configuration.get("normalization_schemes", ())),
        tuple(map(bool, configuration.get("use_mask_for_norm", ()))) or None,
        int(configuration["batch_size"]),
        intensities,
        axes_order(plans.get("transpose_forward")),
        channel_names_in_order(names),
    )


def _part(content: Mapping, name: str) -> Mapping:
    """Return the entry of plans or a checkpoint on an earlier pretraining, empty if absent."""
    part = content.get(name)
    return part if isinstance(part, Mapping) else {}
