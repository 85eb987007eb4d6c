"""Plans a data set with the preprocessing and the network of pretrained weights."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from math import prod
from pathlib import Path

import torch
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.errors import CommandError
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.trusted_plans import building, check_plans
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, channel_names, read_dataset_json
from nnunet_attention.nnunet.datasets import dataset_folder
from nnunet_attention.nnunet.plans import save_plans, whole_plans
from nnunet_attention.nnunet.pretraining import PRETRAIN_INFO, SourceSettings, of_all_channels
from nnunet_attention.plans.architecture import gated_architecture
from nnunet_attention.plans.planners import AttentionUNetPlanner
from nnunet_attention.plans.planning import check_plans_name, plan_dataset
from nnunet_attention.weights.adaptation import NEW, Adaptation
from nnunet_attention.weights.image_notes import image_notes
from nnunet_attention.weights.source import NNSSL, PretrainedSource
from nnunet_attention.weights.start import TargetPlans, adaptation_to, check_share
from nnunet_attention.weights.upgrade import quiet

_FILES_ORDER = (0, 1, 2)
PRETRAINED, DATASET = "pretrained", "dataset"
LIKE_PLANS = "AttentionPretrainedPlans"
# Not the name of a planner: memory is then estimated as for nnU-Net's default for the network.
_PLANNER = "AttentionPlanLike"
# The batch size of nnssl's trainings, and nnU-Net's smallest.
_BATCH = 2
_CT = "CTNormalization"
_Z_SCORE = "ZScoreNormalization"
# The entries on which preprocessed data depend.
_OF_CONFIGURATION = (
    *("preprocessor_name", "spacing", "normalization_schemes", "use_mask_for_norm"),
    *("resampling_fn_data", "resampling_fn_data_kwargs"),
    *("resampling_fn_seg", "resampling_fn_seg_kwargs"),
)
_OF_PLANS = ("image_reader_writer", "transpose_forward")
_INTENSITIES = "foreground_intensity_properties_per_channel"


@dataclass(frozen=True)
class PlannedLike:
    """Holds the result of planning.

    Attributes:
        path: the path of the plans file.
        configuration: the plans' only configuration.
        adaptation: which of the weights a training will use.
        notes: sentences on what could not be planned as for the source.
    """

    path: Path
    configuration: str
    adaptation: Adaptation
    notes: tuple[str, ...]


def plan_like(
    name: str,
    source: PretrainedSource,
    *,
    spacing: str | Sequence[float] = PRETRAINED,
    patch_size: Sequence[int] | None = None,
    plans_name: str | None = None,
    num_processes: int = 8,
    gate_full_resolution: bool = False,
) -> PlannedLike:
    """Write plans with gates with the preprocessing, network and patch of pretrained weights.

    Data that other plans of the data set preprocess in the same way are shared.

    Args:
        name: DatasetXXX_Name, in nnUNet_raw.
        source: the weights.
        spacing: `PRETRAINED` for the source's, `DATASET` for that of nnU-Net's plans for the data
            set, or a spacing in mm in the order of the plans' axes.
        patch_size: the patch in voxels; None for the source's.
        plans_name: the name of the plans; None for `LIKE_PLANS`.
        num_processes: the number of processes for the fingerprint.
        gate_full_resolution: see `gated_architecture`. Gates start as identity in any case.

    Raises:
        CommandError: if the data set is absent or of other dimensions, the patch does not fit the
            network, or a plans file of that name exists with other content.
    """
    plans_name = plans_name or LIKE_PLANS
    check_plans_name(plans_name)
    # Planned anew and not read, as existing plans may have been edited.
    base, _ = plan_dataset(name, _UnsavedPlanner, num_processes=num_processes)
    turned = _turned(base, source.settings)
    if turned and source.settings.transpose_forward == _FILES_ORDER:
        base, _ = plan_dataset(name, _PlannerInFilesOrder, num_processes=num_processes)
    folder = dataset_folder(name)
    dataset_json = read_dataset_json(folder / DATASET_JSON, channels=True)
    configuration_name = "2d" if len(source.settings.patch_size) == 2 else "3d_fullres"
    if configuration_name not in base["configurations"]:
        raise CommandError(
            f"{name} is 2-D, but the network of {source.path} is 3-D; choose weights of a 2-D "
            "network"
        )
    notes: list[str] = []
    if _turned(base, source.settings):
        notes.append(
            f"the axes of images are put in the order {_listed(base['transpose_forward'])} here, "
            f"and in {_listed(source.settings.transpose_forward)} in the source: the encoder sees "
            "the anatomy from another side"
        )
    stock = base["configurations"][configuration_name]
    configuration = {
        **stock,
        "spacing": _spacing(spacing, source.settings, stock["spacing"], notes),
        "patch_size": list(patch_size or source.settings.patch_size),
        "batch_size": source.settings.batch_size or _BATCH,
        "architecture": _architecture(source, gate_full_resolution, notes),
    }
    _check_patch(configuration)
    configuration["median_image_size_in_voxels"] = [
        size * before / after
        for size, before, after in zip(
            stock["median_image_size_in_voxels"],
            stock["spacing"],
            configuration["spacing"],
            strict=True,
        )
    ]
    channels = len(stock["normalization_schemes"])
    configuration.update(_normalisation(source, channels, stock, notes))
    notes += image_notes(source.settings, stock, channel_names(dataset_json), spacing=False)
    plans = {
        **base,
        "plans_name": plans_name,
        "experiment_planner_used": _PLANNER,
        "configurations": {configuration_name: configuration},
        PRETRAIN_INFO: source.as_pretrain_info(),
    }
    if _CT in configuration["normalization_schemes"]:
        if source.settings.intensities:
            plans[_INTENSITIES] = _of_channels(source.settings.intensities, channels)
        else:
            notes.append(
                f"the weights come without the intensities that {_CT} used in their training; "
                f"images are normalised with the data set's own"
            )
    configuration["data_identifier"] = _data_identifier(
        folder,
        plans,
        configuration_name,
        as_stock=not turned and _is_prepared_as(configuration, stock),
    )
    check_plans(plans, configuration_name)
    with building(configuration_name), torch.device("meta"):
        build_attention_network(PlansManager(plans).get_configuration(configuration_name), 1, 2)
    path = folder / f"{plans_name}.json"
    target = TargetPlans(path, plans, configuration_name, dataset_json)
    adaptation = adaptation_to(source, target)
    check_share(adaptation, source, None)
    _check_encoder(adaptation, source)
    if source.mirroring_note is not None:
        notes.append(source.mirroring_note)
    save_plans(plans, path)
    return PlannedLike(path, configuration_name, adaptation, tuple(notes))


class _UnsavedPlanner(AttentionUNetPlanner):
    """Plans as nnU-Net does, writes no file, and prints nothing."""

    def plan_experiment(self) -> dict:
        # It prints its configurations, which are not those that are written.
        with redirect_stdout(StringIO()):
            return super().plan_experiment()

    def save_plans(self, plans: dict) -> None:
        recursive_fix_for_json_export(plans)


class _PlannerInFilesOrder(_UnsavedPlanner):
    """Leaves the axes of images as they are in the files."""

    def determine_transpose(self) -> tuple[list[int], list[int]]:
        return list(_FILES_ORDER), list(_FILES_ORDER)


def _turned(base: Mapping, settings: SourceSettings) -> bool:
    """Tell whether plans put the axes of 3-D images in another order than the source's did."""
    return len(settings.patch_size) == 3 and tuple(base["transpose_forward"]) != (
        settings.transpose_forward
    )


def _listed(values: Sequence) -> str:
    return " ".join(map(str, values))


def _check_encoder(adaptation: Adaptation, source: PretrainedSource) -> None:
    """Refuse weights that do not fit the network that comes with them.

    Raises:
        CommandError: with the first tensor that does not.
    """
    new = [
        outcome
        for outcome in adaptation.outcomes
        if outcome.outcome == NEW and outcome.name.startswith("encoder.")
    ]
    if new:
        raise CommandError(
            f"{source.path}: {len(new)} tensors of the encoder do not fit the network that the "
            f"checkpoint describes, the first of them {new[0].name} ({new[0].reason}); the "
            "description belongs to another network. Get the checkpoint from its source again, or "
            "fit it to existing plans with nnunet-attention upgrade -d"
        )


def _spacing(
    wanted: str | Sequence[float],
    settings: SourceSettings,
    of_dataset: Sequence[float],
    notes: list[str],
) -> list[float]:
    if wanted == PRETRAINED and settings.spacing_mm is not None:
        if len(settings.spacing_mm) != len(of_dataset):
            raise CommandError(
                f"the weights come with a spacing of {len(settings.spacing_mm)} numbers and a "
                f"patch of {len(settings.patch_size)}: their plans are damaged; give --spacing "
                f"{DATASET}, or a spacing in mm"
            )
        return list(settings.spacing_mm)
    if wanted == PRETRAINED:
        notes.append(
            "the pretraining left images at their own spacing; the spacing is that of nnU-Net's "
            "plans for the data set"
        )
    if isinstance(wanted, str):
        return [float(step) for step in of_dataset]
    if len(wanted) != len(of_dataset) or not all(0 < step < float("inf") for step in wanted):
        raise CommandError(
            f"--spacing {' '.join(map(str, wanted))}: give {len(of_dataset)} numbers above 0 in "
            f"mm, {PRETRAINED} or {DATASET}"
        )
    return [float(step) for step in wanted]


def _architecture(source: PretrainedSource, gate_full_resolution: bool, notes: list[str]) -> dict:
    """Add gates to the source's network; a gate at the highest resolution is kept."""
    arguments = source.architecture["arch_kwargs"]
    architecture = gated_architecture(
        source.plain_architecture,
        gate_full_resolution=gate_full_resolution
        or bool(arguments.get("gate_full_resolution", False)),
    )
    # Left to the trainer, as in nnU-Net's plans.
    if architecture["arch_kwargs"].pop("deep_supervision", True) is False:
        notes.append(
            "the weights were trained without deep supervision, and these plans ask for it; "
            '"deep_supervision": false in their arch_kwargs turns it off'
        )
    if arguments.get("output_transform"):
        notes.append(
            "the gates of the weights' network have an output transform; those of these plans have "
            "none, as gates with one cannot start as identity"
        )
    return architecture


def _check_patch(configuration: Mapping) -> None:
    patch = configuration["patch_size"]
    strides = configuration["architecture"]["arch_kwargs"]["strides"]
    rows = [row if isinstance(row, (list, tuple)) else [row] * len(patch) for row in strides]
    if any(len(row) != len(patch) for row in rows):
        raise CommandError(
            f"--patch {' '.join(map(str, patch))}: the network is {len(rows[0])}-D; give "
            f"{len(rows[0])} numbers"
        )
    divisors = [prod(steps) for steps in zip(*rows, strict=True)]
    nearest = [
        max(1, round(size / divisor)) * divisor
        for size, divisor in zip(patch, divisors, strict=True)
    ]
    if nearest != list(patch):
        raise CommandError(
            f"--patch {' '.join(map(str, patch))}: the network needs multiples of "
            f"{' '.join(map(str, divisors))}; the nearest is {' '.join(map(str, nearest))}"
        )
    if list(patch) == divisors:
        raise CommandError(
            f"--patch {' '.join(map(str, patch))}: only one voxel would be left at the coarsest "
            "resolution, which cannot be normalised; give a larger patch"
        )


def _normalisation(
    source: PretrainedSource, channels: int, stock: Mapping, notes: list[str]
) -> dict:
    """Return the source's normalisation, repeated if the data set has more channels.

    Raises:
        CommandError: if the source, a model of nnU-Net, does not tell it.
    """
    settings = source.settings
    schemes = settings.normalization_schemes
    if not schemes and source.kind == NNSSL:
        schemes = (_Z_SCORE,)
        notes.append(
            f"the checkpoint does not say how images were normalised; they are with {_Z_SCORE}, as "
            "is usual in nnssl"
        )
    if not schemes:
        raise CommandError(
            f"{source.path} does not say how images were normalised: its plans have no "
            f"normalization_schemes"
        )
    masks = settings.use_mask_for_norm
    return {
        "normalization_schemes": list(of_all_channels(schemes, channels)),
        "use_mask_for_norm": list(of_all_channels(masks or stock["use_mask_for_norm"], channels)),
    }


def _of_channels(intensities: Mapping, channels: int) -> dict:
    """Return the source's intensities for each channel of the data set."""
    known = [intensities[key] for key in sorted(intensities, key=int)]
    return {str(place): one for place, one in enumerate(of_all_channels(known, channels))}


def _is_prepared_as(configuration: Mapping, stock: Mapping) -> bool:
    """Tell whether data match those that nnU-Net's development branch names by their spacing.

    The branch uses nnU-Net's plans for the data set, with another spacing and z-scores.
    """
    return configuration["use_mask_for_norm"] == stock["use_mask_for_norm"] and all(
        scheme == _Z_SCORE for scheme in configuration["normalization_schemes"]
    )


def _data_identifier(folder: Path, plans: Mapping, name: str, *, as_stock: bool) -> str:
    """Name the folder of preprocessed data, shared with other plans of the same preprocessing.

    Args:
        folder: the data set's folder in nnUNet_preprocessed.
        plans: the new plans.
        name: the name of their configuration.
        as_stock: see `_is_prepared_as`.
    """
    wanted = _preparation(plans, plans["configurations"][name])
    alike, claimed = [], set()
    for path in sorted(folder.glob("*.json")):
        for identifier, preparation in _preparations(path):
            claimed.add(identifier)
            if preparation == wanted:
                alike.append(identifier)
    if alike:
        made = [identifier for identifier in alike if (folder / identifier).is_dir()]
        return (made or alike)[0]
    spacing = plans["configurations"][name]["spacing"]
    rounded = all(step == round(step, 2) for step in spacing)
    if as_stock and rounded and len(spacing) == 3:
        # The development branch's name; data there that no plans name were made by it.
        identifier = "Spacing__{:.2f}_{:.2f}_{:.2f}___Norm__".format(*spacing) + "_".join(
            "Z" for _ in plans["configurations"][name]["normalization_schemes"]
        )
        if identifier not in claimed:
            return identifier
    identifier = f"{plans['plans_name']}_{name}"
    number = 2
    # What is there and no plans name was made by plans that are gone.
    while identifier in claimed or (folder / identifier).exists():
        identifier = f"{plans['plans_name']}_{name}_{number}"
        number += 1
    return identifier


def _preparations(path: Path) -> list[tuple[str, dict]]:
    """Return the data folders that a plans file names, and how their data are preprocessed."""
    plans = whole_plans(path) or {"configurations": {}}
    found = []
    for name in plans["configurations"]:
        # Damaged plans of any kind share nothing; old plans cause warnings.
        with suppress(Exception), quiet():
            configuration = PlansManager(plans).get_configuration(name).configuration
            found.append((configuration["data_identifier"], _preparation(plans, configuration)))
    return found


def _preparation(plans: Mapping, configuration: Mapping) -> dict:
    preparation = {
        **{key: configuration.get(key) for key in _OF_CONFIGURATION},
        **{key: plans.get(key) for key in _OF_PLANS},
    }
    preparation["spacing"] = [float(step) for step in configuration["spacing"]]
    if _CT in configuration["normalization_schemes"]:
        preparation[_INTENSITIES] = plans.get(_INTENSITIES)
    return preparation
