"""Reads and writes plans files, fills in inherited entries, and tells what a model depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import (
    NNUNET_LAYOUT,
    disk_error,
    is_plain_name,
    read_json,
    write_json,
)
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.model_folders import PLANS_JSON, fold_folders
from nnunet_attention.nnunet.pretraining import PRETRAIN_INFO, have_moved, with_whole_networks

# The entries that preprocessing, training and export read besides the configuration.
_OF_PLANS = (
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "label_manager",
    "foreground_intensity_properties_per_channel",
)
_OF_DATASET = ("labels", "channel_names", "file_ending", "regions_class_order")
# Reported by the planner and read by nobody.
_NOT_READ = ("median_image_size_in_voxels", "inherits_from")


def read_plans(path: Path) -> dict:
    """Read a plans file of nnU-Net; see `with_whole_networks`.

    Raises:
        CommandError: if it is absent, no plans file, or one from before nnU-Net 2.4, which does
            not say how the network is built.
    """
    plans = read_json(path)
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not configurations:
        raise CommandError(f"{path} is not an nnU-Net v2 plans file: it has no configurations")
    for name, configuration in configurations.items():
        if not isinstance(configuration, dict):
            raise CommandError(f"{path}: configuration {name} is not a JSON object; plan again")
        if "architecture" not in configuration and "inherits_from" not in configuration:
            raise CommandError(
                f"{path}: configuration {name} has no architecture, as in the plans of old nnU-Net "
                "versions; plan again with nnUNetv2_plan_experiment"
            )
    return with_whole_networks(plans)


def whole_plans(path: Path) -> dict | None:
    """Read plans; None where there are none, or only what a kill left half written."""
    try:
        content = read_json(path)
    except CommandError:
        return None
    return content if isinstance(content.get("configurations"), dict) else None


def save_plans(plans: Mapping, path: Path) -> None:
    """Write a plans file; where the same content is there already, do nothing.

    Configurations that only the existing file has were added by its owner. They are kept, as
    nnU-Net's planner keeps them. If nothing has changed but the place of pretrained weights, the
    file gets their new place, see `have_moved`.

    Raises:
        CommandError: if the existing file has different content, or cannot be written.
    """
    content = json.loads(json.dumps(plans))
    if path.exists():
        existing = read_plans(path)
        content["configurations"] = {**existing["configurations"], **content["configurations"]}
        if existing == content:
            return
        different = [
            key
            for key in sorted({*existing, *content})
            if key != "configurations" and existing.get(key) != content.get(key)
        ]
        different += [
            f"configuration {name}"
            for name, configuration in content["configurations"].items()
            if existing["configurations"].get(name) != configuration
        ]
        if different != [PRETRAIN_INFO] or not have_moved(
            existing.get(PRETRAIN_INFO), content.get(PRETRAIN_INFO)
        ):
            raise CommandError(
                f"{path} already exists with different content ({', '.join(different)}); models "
                "may depend on it. Choose another name with -overwrite_plans_name, or remove the "
                "file"
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content, **NNUNET_LAYOUT)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {disk_error(error)}") from error


def configuration_of(plans: Mapping, name: str, seen: tuple[str, ...] = ()) -> dict:
    """Return a configuration with what it inherits.

    Raises:
        CommandError: if it, or one that it inherits from, is not in the plans.
    """
    configurations = plans["configurations"]
    if not isinstance(name, str) or name not in configurations or name in seen:
        raise CommandError(
            f"-c {name}: the plans {plans.get('plans_name')} of {plans.get('dataset_name')} have "
            f"only {', '.join(sorted(configurations))}; choose one of these"
        )
    own = configurations[name]
    if not isinstance(own, Mapping):
        raise CommandError(
            f"-c {name}: the plans {plans.get('plans_name')} of {plans.get('dataset_name')} are "
            f"damaged: this configuration is {own!r}; plan again"
        )
    parent = own.get("inherits_from")
    inherited = configuration_of(plans, parent, (*seen, name)) if parent else {}
    return {**inherited, **own}


def identifier_of(plans: Mapping, name: str) -> str:
    """Return the name of the folder with a configuration's preprocessed data.

    Raises:
        CommandError: if the plans have none, or a path that could lead elsewhere.
    """
    identifier = configuration_of(plans, name).get("data_identifier")
    if not isinstance(identifier, str) or not is_plain_name(identifier):
        raise CommandError(
            f"-c {name}: the plans {plans.get('plans_name')} of {plans.get('dataset_name')} have "
            f"{identifier!r} for data_identifier; expected the name of a folder: plan again"
        )
    return identifier


def data_owner(plans: Mapping, name: str) -> str:
    """Return the configuration whose preprocessed data another one trains on; mostly itself."""
    parent = plans["configurations"][name].get("inherits_from")
    if parent and "data_identifier" not in plans["configurations"][name]:
        return data_owner(plans, parent)
    return name


def next_stages(configuration: Mapping) -> tuple[str, ...]:
    """Return the configurations that are trained on this one's predictions."""
    following = configuration.get("next_stage") or ()
    return (following,) if isinstance(following, str) else tuple(following)


def relevant(plans: Mapping, configuration: str, dataset_json: Mapping | None = None) -> dict:
    """Collect what preprocessed data and a trained network of a configuration depend on."""
    own = configuration_of(plans, configuration)
    return {
        **{key: plans.get(key) for key in _OF_PLANS},
        **{key: value for key, value in own.items() if key not in _NOT_READ},
        **{key: (dataset_json or {}).get(key) for key in _OF_DATASET if dataset_json},
    }


def differences(before: Mapping, now: Mapping) -> list[str]:
    """List the entries that differ, with both values; of nested entries, the innermost."""
    different = []
    for key in sorted(before.keys() | now.keys(), key=str):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            different += [f"{key}.{nested}" for nested in differences(old, new)]
        else:
            different.append(f"{key} was {_short(old)}, is {_short(new)}")
    return different


def check_unchanged(model: Path, plans: Mapping, configuration: str, dataset_json: Mapping) -> None:
    """Refuse to mix folds of a model that were trained with other plans.

    Args:
        model: the model's folder in nnUNet_results; nnU-Net leaves a copy of the plans there.
        plans: the plans as they are now.
        configuration: the model's configuration.
        dataset_json: the data set's description as it is now.

    Raises:
        CommandError: with the differences, if a fold has begun with other plans.
    """
    begun = any(any(fold.glob("checkpoint_*.pth")) for _, fold in fold_folders(model))
    if not begun or not (model / PLANS_JSON).is_file():
        return
    try:
        trained = read_json(model / PLANS_JSON)
        described = read_json(model / DATASET_JSON)
        before = relevant(trained, configuration, described)
    except (CommandError, KeyError, TypeError):
        return  # Half written by a kill; the next fold writes it again.
    changed = differences(before, relevant(plans, configuration, dataset_json))
    if changed:
        raise CommandError(
            f"the plans of {model.parent.name} have changed since {model} was started: "
            f"{'; '.join(changed)}. Put the old plans back, give the new ones another name "
            "(-overwrite_plans_name when planning), or move the model's folder away"
        )


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
