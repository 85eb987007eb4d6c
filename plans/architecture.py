"""Writes the entry of nnU-Net's plans that names the network."""

from collections.abc import Mapping
from typing import TypedDict

from nnunet_attention.networks import attention_class_path


class GateOptions(TypedDict):
    """Holds the options of the gated network that plans record; see `gated_architecture`."""

    gate_full_resolution: bool
    output_transform: bool
    gate_start: str | None


def gated_architecture(
    architecture: Mapping,
    *,
    gate_full_resolution: bool | None = None,
    output_transform: bool | None = None,
    gate_start: str | None = None,
) -> dict:
    """Return the `architecture` of a configuration with the gated network in place of the plain.

    Of an architecture that has gates already, all options stay that are not given.

    Args:
        architecture: with `network_class_name`, `arch_kwargs` and `_kw_requires_import`; it is not
            changed.
        gate_full_resolution: an option of the network, written into `arch_kwargs`; None keeps what
            is there, and else stands for False.
        output_transform: likewise.
        gate_start: likewise; but None writes nothing and leaves the choice to the network, so that
            plans without this option stay as they are.

    Raises:
        UnsupportedNetworkError: if there is no attention U-Net for this network.
    """
    given = {"gate_full_resolution": gate_full_resolution, "output_transform": output_transform}
    options: dict[str, bool | str] = {
        name: architecture["arch_kwargs"].get(name, False) if value is None else value
        for name, value in given.items()
    }
    if gate_start is not None:
        options["gate_start"] = gate_start
    return {
        **architecture,
        "network_class_name": attention_class_path(architecture["network_class_name"]),
        "arch_kwargs": {**architecture["arch_kwargs"], **options},
    }
