"""Reads and writes plans files."""

import json
from collections.abc import Mapping
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import NNUNET_LAYOUT, disk_error, read_json, write_json


def read_plans(path: Path) -> dict:
    """Reads a plans file of nnU-Net.

    Raises:
        CommandError: if it is absent, no plans file, or one from before nnU-Net 2.4, which does
            not say how the network is built.
    """
    plans = read_json(path)
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not configurations:
        raise CommandError(f"{path} is not a plans file of nnU-Net v2: it has no configurations")
    for name, configuration in configurations.items():
        if not isinstance(configuration, dict):
            raise CommandError(f"{path}: configuration {name} is no JSON object; plan again")
        if "architecture" not in configuration and "inherits_from" not in configuration:
            raise CommandError(
                f"{path}: configuration {name} has no architecture, as in plans of an old nnU-Net; "
                "plan again with nnUNetv2_plan_experiment"
            )
    return plans


def save_plans(plans: Mapping, path: Path) -> None:
    """Writes a plans file; where the same content is there already, nothing happens.

    Configurations that stand in the existing file only were added by its owner. They are kept, as
    nnU-Net's planner keeps them.

    Raises:
        CommandError: if the file there has another content, or cannot be written.
    """
    wanted = json.loads(json.dumps(plans))
    if path.exists():
        existing = read_plans(path)
        wanted["configurations"] = {**existing["configurations"], **wanted["configurations"]}
        if existing == wanted:
            return
        different = [
            key
            for key in sorted({*existing, *wanted})
            if key != "configurations" and existing.get(key) != wanted.get(key)
        ]
        different += [
            f"configuration {name}"
            for name, configuration in wanted["configurations"].items()
            if existing["configurations"].get(name) != configuration
        ]
        raise CommandError(
            f"{path} exists with another content ({', '.join(different)}); models may depend on "
            "it. Choose another name with -overwrite_plans_name, or remove the file"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted, **NNUNET_LAYOUT)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {disk_error(error)}") from error
