"""Plans as nnU-Net reads them: inherited entries filled in, and what a model depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import is_plain_name, read_json

# Besides the configuration: what preprocessing, training and export read.
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


def configuration_of(plans: Mapping, name: str, seen: tuple[str, ...] = ()) -> dict:
    """A configuration with what it inherits.

    Raises:
        CommandError: if it, or one that it inherits from, is not in the plans.
    """
    configurations = plans["configurations"]
    if not isinstance(name, str) or name not in configurations or name in seen:
        raise CommandError(
            f"-c {name}: the plans {plans.get('plans_name')} of {plans.get('dataset_name')} have "
            f"only {', '.join(sorted(configurations))}; choose among these"
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
    """The name of the folder with a configuration's preprocessed data.

    Raises:
        CommandError: if the plans have none, or a path that could lead elsewhere.
    """
    identifier = configuration_of(plans, name).get("data_identifier")
    if not is_plain_name(identifier):
        raise CommandError(
            f"-c {name}: the plans {plans.get('plans_name')} of {plans.get('dataset_name')} have "
            f"{identifier!r} for data_identifier; wanted is the name of a folder: plan again"
        )
    return identifier


def data_owner(plans: Mapping, name: str) -> str:
    """The configuration whose preprocessed data another one trains on; mostly itself."""
    parent = plans["configurations"][name].get("inherits_from")
    if parent and "data_identifier" not in plans["configurations"][name]:
        return data_owner(plans, parent)
    return name


def next_stages(configuration: Mapping) -> tuple[str, ...]:
    """The configurations that are trained on this one's predictions."""
    following = configuration.get("next_stage") or ()
    return (following,) if isinstance(following, str) else tuple(following)


def relevant(plans: Mapping, configuration: str, dataset_json: Mapping | None = None) -> dict:
    """What preprocessed data and a trained network of a configuration depend on."""
    own = configuration_of(plans, configuration)
    return {
        **{key: plans.get(key) for key in _OF_PLANS},
        **{key: value for key, value in own.items() if key not in _NOT_READ},
        **{key: (dataset_json or {}).get(key) for key in _OF_DATASET if dataset_json},
    }


def differences(before: Mapping, now: Mapping) -> list[str]:
    """Each entry that is not the same, with both values; of nested ones the innermost."""
    found = []
    for key in sorted(before.keys() | now.keys(), key=str):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{key}.{one}" for one in differences(old, new)]
        else:
            found.append(f"{key} was {_short(old)}, is {_short(new)}")
    return found


def check_unchanged(model: Path, plans: Mapping, configuration: str, dataset_json: Mapping) -> None:
    """Refuses to mix folds of a model that were trained with other plans.

    Args:
        model: its folder in nnUNet_results; nnU-Net leaves a copy of the plans there.
        plans: as they are now.
        configuration: of the model.
        dataset_json: as it is now.

    Raises:
        CommandError: with the differences, if a fold has begun with other plans.
    """
    begun = sorted(model.glob("fold_*/checkpoint_*.pth"))
    if not begun or not (model / "plans.json").is_file():
        return
    try:
        trained = read_json(model / "plans.json")
        described = read_json(model / "dataset.json")
        before = relevant(trained, configuration, described)
    except (CommandError, KeyError, TypeError):
        return  # Half written by a kill; the next fold writes it again.
    changed = differences(before, relevant(plans, configuration, dataset_json))
    if changed:
        raise CommandError(
            f"the plans of {model.parent.name} have changed since {model} was begun: "
            f"{'; '.join(changed)}. Put the old plans back, give the new ones another name "
            "(-overwrite_plans_name when planning), or move the model's folder away"
        )


def _short(value) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
