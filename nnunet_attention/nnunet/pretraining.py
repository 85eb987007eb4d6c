"""Knows what nnssl's checkpoints say about a pretraining, and how plans pass it on to a training.

nnssl (https://github.com/MIC-DKFZ/nnssl) puts an "adaptation plan" into its checkpoints. nnU-Net's
development branch writes the parts that a training needs into the plans, as `pretrain_info`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

from nnunet_attention.errors import CommandError
from nnunet_attention.files import sha256_of

_Value = TypeVar("_Value")

ADAPTATION_PLAN = "nnssl_adaptation_plan"
CITATIONS = "citations"
PRETRAIN_INFO = "pretrain_info"
CHECKPOINT_PATH = "checkpoint_path"
CHECKPOINT_DIGEST = "checkpoint_sha256"
_CHECKPOINT_NAME = "checkpoint_name"
_OF_PLACE = (CHECKPOINT_PATH, _CHECKPOINT_NAME)

# Where nnU-Net's own networks have the parts that nnssl's checkpoints name; the plain U-Net has its
# stem in the first stage.
KEY_TO_ENCODER = "encoder.stages"
KEY_TO_STEM = "encoder.stem"
_STEMS = {True: KEY_TO_STEM, False: f"{KEY_TO_ENCODER}.0"}
_FIRST = {True: KEY_TO_STEM, False: f"{KEY_TO_ENCODER}.0.0"}

_UNET = "dynamic_network_architectures.architectures.unet"
_RESIDUAL, _PLAIN = f"{_UNET}.ResidualEncoderUNet", f"{_UNET}.PlainConvUNet"
# The preset of nnssl's architecture_registry.py; NoSkipResEncL has the same encoder.
_PRESETS = ("ResEncL", "NoSkipResEncL")
_STAGES = 6
_RESENC_L: dict[str, Any] = {
    "n_stages": _STAGES,
    "features_per_stage": [32, 64, 128, 256, 320, 320],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * _STAGES,
    "strides": [[1, 1, 1], *[[2, 2, 2]] * (_STAGES - 1)],
    "n_blocks_per_stage": [1, 3, 4, 6, 6, 6],
    "n_conv_per_stage_decoder": [1] * (_STAGES - 1),
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
_IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]
_PATHS = {path.rpartition(".")[2]: path for path in (_RESIDUAL, _PLAIN)}
# Of voxels along an axis, or of channels: more than any image has.
_LARGEST_SIZE = 2**31


def of_all_channels(values: Sequence[_Value], channels: int) -> tuple[_Value, ...]:
    """Return the settings of each channel; if they are fewer than channels, they are repeated."""
    return tuple(islice(cycle(values), channels))


@dataclass(frozen=True)
class SourceSettings:
    """Holds how the images that a network was trained on were prepared.

    Attributes:
        spacing_mm: of the voxels, in the order of the plans' axes; None where images kept theirs.
        patch_size: the size advised for trainings that start from the weights, in voxels.
        normalization_schemes: one for each channel; empty where they are not known.
        use_mask_for_norm: likewise; None where it is not known.
        batch_size: None where it is not known.
        intensities: nnU-Net's `foreground_intensity_properties_per_channel`; None where unknown.
        transpose_forward: the order in which the axes of images were put.
        channel_names: of the images; empty where they are not known.
    """

    spacing_mm: tuple[float, ...] | None
    patch_size: tuple[int, ...]
    normalization_schemes: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...] | None = None
    batch_size: int | None = None
    intensities: Mapping | None = None
    transpose_forward: tuple[int, ...] = (0, 1, 2)
    channel_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pretraining:
    """Holds what an adaptation plan says.

    Attributes:
        architecture: as in plans: `network_class_name`, `arch_kwargs`, `_kw_requires_import`. It
            holds names that have not been checked.
        channels: the number of input channels.
        settings: how the images were prepared.
        used_patch_size: the patch size of the pretraining, in voxels.
        key_to_encoder: where the state dict has the encoder's stages.
        key_to_stem: where it has the stem.
        keys_to_in_proj: the names of the first convolution.
        key_to_lpe: where it has a transformer's learnt positions; None for other networks.
    """

    architecture: dict
    channels: int
    settings: SourceSettings
    used_patch_size: tuple[int, ...]
    key_to_encoder: str
    key_to_stem: str
    keys_to_in_proj: tuple[str, ...]
    key_to_lpe: str | None


def read_adaptation_plan(plan: object, where: str) -> Pretraining:
    """Read nnssl's adaptation plan, an untrusted dictionary.

    Args:
        plan: `nnssl_adaptation_plan` of a checkpoint.
        where: the checkpoint's path, for messages.

    Raises:
        CommandError: if an entry is missing or malformed, or the network is no U-Net.
    """
    try:
        return _pretraining(_mapping(plan, where, ADAPTATION_PLAN), where)
    except RecursionError as error:
        raise CommandError(
            f"{where}: the adaptation plan contains itself or is nested too deeply; get the "
            "checkpoint from its source again"
        ) from error


def _pretraining(plan: Mapping, where: str) -> Pretraining:
    architecture = _architecture(_entry(plan, "architecture_plans", where), where)
    pretrain_plan = _mapping(_entry(plan, "pretrain_plan", where), where, "pretrain_plan")
    configurations = _mapping(
        _entry(pretrain_plan, "configurations", where), where, "pretrain_plan.configurations"
    )
    if not configurations:
        raise _malformed(where, "pretrain_plan.configurations", configurations, "one of them")
    configuration = _mapping(
        next(iter(configurations.values())), where, "pretrain_plan.configurations"
    )
    used = _sizes(_entry(configuration, "patch_size", where), where, "patch_size")
    given = configuration.get("normalization_schemes", [])
    schemes = [given] if isinstance(given, str) else _listed(given)
    if schemes is None or not all(isinstance(scheme, str) for scheme in schemes):
        raise _malformed(
            where, "normalization_schemes", given, "the names of normalisation schemes"
        )
    mask = plain_values(configuration.get("use_mask_for_norm"))
    masks = [mask] if isinstance(mask, bool) else _listed(mask)
    channels = plan.get("pretrain_num_input_channels", 1)
    if not isinstance(channels, int) or not 1 <= channels <= _LARGEST_SIZE:
        raise _malformed(where, "pretrain_num_input_channels", channels, "a number above 0")
    spacing = _spacing(configuration.get("spacing"), where)
    advised = plan.get("recommended_downstream_patchsize")
    patch = used if advised is None else _sizes(advised, where, "recommended_downstream_patchsize")
    if spacing is not None and len(spacing) != len(patch):
        raise _malformed(
            where, "spacing", spacing, f"{len(patch)} numbers, one for each axis of the patch"
        )
    in_projections = _listed(plan.get("keys_to_in_proj")) or []
    position = plan.get("key_to_lpe")
    return Pretraining(
        architecture,
        channels,
        SourceSettings(
            spacing,
            patch,
            tuple(schemes),
            tuple(map(bool, masks)) if masks else None,
            transpose_forward=axes_order(pretrain_plan.get("transpose_forward")),
        ),
        used,
        _text(_entry(plan, "key_to_encoder", where), where, "key_to_encoder"),
        _text(_entry(plan, "key_to_stem", where), where, "key_to_stem"),
        tuple(str(name) for name in in_projections),
        None if position is None else str(position),
    )


def pretrain_info(
    checkpoint_path: Path,
    name: str,
    channels: int,
    patch_size: Sequence[int],
    citations: Sequence[Mapping],
    *,
    pretraining: Pretraining | None = None,
    residual: bool = True,
) -> dict:
    """Return the entry of plans that names the checkpoint that trainings start from.

    It is as nnU-Net's development branch writes it, so that its trainers read it too.

    Args:
        checkpoint_path: the path of the checkpoint. Its digest goes into the entry too, as files
            of the same name are easily confused.
        name: the name of the pretraining.
        channels: the number of input channels.
        patch_size: the patch size advised for trainings.
        citations: see `citation_lines`.
        pretraining: nnssl's; None for a model of nnU-Net.
        residual: whether nnU-Net's model is a ResidualEncoderUNet.
    """
    first = [f"{_FIRST[residual]}.convs.0.{name}" for name in ("conv", "all_modules.0")]
    return {
        CHECKPOINT_PATH: str(checkpoint_path),
        CHECKPOINT_DIGEST: sha256_of(checkpoint_path),
        _CHECKPOINT_NAME: name,
        "key_to_encoder": pretraining.key_to_encoder if pretraining else KEY_TO_ENCODER,
        "key_to_stem": pretraining.key_to_stem if pretraining else _STEMS[residual],
        "keys_to_in_proj": list(pretraining.keys_to_in_proj if pretraining else first),
        "key_to_lpe": pretraining.key_to_lpe if pretraining else None,
        "pt_num_in_channels": channels,
        "pt_used_patchsize": list(pretraining.used_patch_size if pretraining else patch_size),
        "pt_recommended_downstream_patchsize": list(patch_size),
        CITATIONS: list(citations),
    }


def have_moved(before: object, now: object) -> bool:
    """Tell whether two entries of plans name the same weights in different places.

    Args:
        before: the `pretrain_info` of existing plans, whatever it holds.
        now: that of new plans.
    """
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return False
    # Plans without a digest, such as the development branch's, leave the weights unknown.
    return before.get(CHECKPOINT_DIGEST) is not None and (
        {**before, **dict.fromkeys(_OF_PLACE)} == {**now, **dict.fromkeys(_OF_PLACE)}
    )


def check_digest(path: Path, info: Mapping) -> None:
    """Refuse a checkpoint whose content is another than when it was planned with.

    Args:
        path: of the checkpoint.
        info: the plans' `pretrain_info`; without a digest, nothing is checked.

    Raises:
        CommandError: if the content has changed, or cannot be read.
    """
    wanted = info.get(CHECKPOINT_DIGEST)
    if wanted is not None and sha256_of(path) != wanted:
        raise CommandError(
            f"{path} has changed since it was planned with, and other folds may have started from "
            "what it was; put the old file back, plan again under another name (nnunet-attention "
            "plan --like ... -overwrite_plans_name), or give -pretrained_weights"
        )


def axes_order(value: object) -> tuple[int, ...]:
    """Return plans' `transpose_forward`, an untrusted entry; the usual order if it is none."""
    order = _listed(value) or []
    is_one = all(isinstance(axis, int) for axis in order) and sorted(order) == [0, 1, 2]
    return tuple(order) if is_one else (0, 1, 2)


def with_whole_networks(plans: Mapping) -> dict:
    """Return plans in which networks that are only named, as nnssl names them, are described.

    nnU-Net's development branch copies nnssl's `architecture_plans` into its plans: "ResEncL"
    without arguments, or "ResidualEncoderUNet" without its module.

    Args:
        plans: content of a plans file, whatever it holds; not changed.
    """
    configurations = plans.get("configurations")
    if not isinstance(configurations, Mapping):
        return dict(plans)
    whole = {name: _with_whole_network(content) for name, content in configurations.items()}
    return {**plans, "configurations": whole}


def plain_citations(citations: object) -> list[dict]:
    """Return those of a checkpoint's citations that can be written into plans.

    Args:
        citations: the checkpoint's entry of that name, whatever it holds.
    """
    found = []
    for citation in citations if isinstance(citations, (list, tuple)) else ():
        try:
            plain = json.loads(json.dumps(citation))
        except (TypeError, ValueError, RecursionError):
            continue
        if isinstance(plain, dict):
            found.append(plain)
    return found


def citation_lines(citations: object) -> list[str]:
    """Return lines that tell people what to cite; none where there is nothing to cite.

    Args:
        citations: dictionaries with `type` and `name` of what was used, and its papers in
            `apa_citations` or `bibtex_citations`.
    """
    lines = []
    for citation in plain_citations(citations):
        papers = citation.get("apa_citations") or citation.get("bibtex_citations") or []
        used = f"{citation.get('type', 'used')}: {citation.get('name', 'unnamed')}"
        lines.append(used)
        lines += [f"  {paper}" for paper in (papers if isinstance(papers, list) else [papers])]
    if lines:
        lines.insert(0, "Please cite the sources of the pretrained weights:")
    return lines


def _architecture(plans: object, where: str) -> dict:
    plans = _mapping(plans, where, "architecture_plans")
    name = _text(_entry(plans, "arch_class_name", where), where, "arch_class_name")
    if name in _PRESETS:
        return _preset()
    if name.startswith(("Primus", "SwinUNETR")):
        raise CommandError(
            f"{where} holds a transformer, {name}; attention gates need the skip connections of a "
            "U-Net: use a checkpoint of a ResidualEncoderUNet, such as OpenMind's ResEncL"
        )
    arguments = plans.get("arch_kwargs")
    if arguments is None:
        raise CommandError(
            f"{where} holds a network {name} but does not say how it is built; supported are "
            f"{', '.join((*_PRESETS, *_PATHS))}, the last two with arch_kwargs"
        )
    imported = _listed(plans.get("arch_kwargs_requiring_import")) or []
    if not all(isinstance(argument, str) for argument in imported):
        raise _malformed(where, "arch_kwargs_requiring_import", imported, "names of arguments")
    return {
        "network_class_name": _PATHS.get(name, name),
        "arch_kwargs": plain_values(_mapping(arguments, where, "arch_kwargs")),
        "_kw_requires_import": list(imported),
    }


def _preset() -> dict:
    return {
        "network_class_name": _RESIDUAL,
        "arch_kwargs": json.loads(json.dumps(_RESENC_L)),
        "_kw_requires_import": list(_IMPORTED),
    }


def _with_whole_network(configuration: Any) -> Any:
    architecture = configuration.get("architecture") if isinstance(configuration, Mapping) else None
    if not isinstance(architecture, Mapping):
        return configuration
    name = architecture.get("network_class_name")
    if name in _PRESETS and architecture.get("arch_kwargs") is None:
        return {**configuration, "architecture": _preset()}
    if isinstance(name, str) and name in _PATHS:
        imported = architecture.get("_kw_requires_import") or []
        named = {"network_class_name": _PATHS[name], "_kw_requires_import": imported}
        return {**configuration, "architecture": {**architecture, **named}}
    return configuration


def plain_values(value: Any) -> Any:
    """Turn tuples into lists and array scalars into Python's numbers, as in JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _listed(value: object) -> list | None:
    value = plain_values(value)
    return value if isinstance(value, list) else None


def _entry(content: Mapping, name: str, where: str) -> object:
    if name not in content:
        raise CommandError(
            f"{where}: the adaptation plan lacks {name}; expected the plan that nnssl writes into "
            f"its checkpoints"
        )
    return content[name]


def _mapping(value: object, where: str, name: str) -> Mapping:
    if not isinstance(value, Mapping):
        raise _malformed(where, name, value, "a dictionary")
    return value


def _text(value: object, where: str, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise _malformed(where, name, value, "a name")
    return value


def _sizes(value: object, where: str, name: str) -> tuple[int, ...]:
    sizes = _listed(value)
    if (
        sizes is None
        or len(sizes) not in (2, 3)
        or not all(
            isinstance(size, (int, float))
            and 1 <= size <= _LARGEST_SIZE
            and float(size).is_integer()
            for size in sizes
        )
    ):
        raise _malformed(where, name, value, "2 or 3 whole numbers above 0")
    return tuple(int(size) for size in sizes)


def _spacing(value: object, where: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    spacing = _listed(value)
    if (
        spacing is None
        or len(spacing) not in (2, 3)
        or not all(
            isinstance(step, (int, float)) and 0 < step <= sys.float_info.max for step in spacing
        )
    ):
        raise _malformed(where, "spacing", value, "a positive number for each axis")
    return tuple(float(step) for step in spacing)


def _malformed(where: str, name: str, value: object, wanted: str) -> CommandError:
    return CommandError(
        f"{where}: the adaptation plan has {str(value)[:80]} for {name}; expected {wanted}"
    )
