"""Knows the names of data sets, DatasetXXX_Name, as nnU-Net takes them: three digits or more."""

import re

from nnunet_attention.errors import CommandError

_NAME = re.compile(r"Dataset(\d{3,})_(.+)")


def is_dataset_name(name: str) -> bool:
    """Tell whether nnU-Net would take it for a data set's full name."""
    return _NAME.fullmatch(name) is not None


def number_of_dataset(name: str) -> str:
    """Return the digits in a full name: "025" for Dataset025_Name.

    Raises:
        CommandError: if it is not a full name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise CommandError(
            f"{name} is not the full name of a data set; give DatasetXXX_Name or its number, which "
            "has three digits or more, as in Dataset025_Liver"
        )
    return match[1]


def full_dataset_name(number: int, short_name: str) -> str:
    """Put together DatasetXXX_Name."""
    return f"Dataset{number:03d}_{short_name}"
