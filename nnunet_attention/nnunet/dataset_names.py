"""Knows the names of data sets, DatasetXXX_Name, as nnU-Net takes them: three digits or more."""

import re
from collections.abc import Iterable
from pathlib import Path

from nnunet_attention.errors import CommandError

DATASET_PREFIX = "Dataset"
_NAME = re.compile(rf"{DATASET_PREFIX}(\d{{3,}})_(.+)")


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


def short_dataset_name(name: str) -> str:
    """Return a data set's name without its number, Liver of Dataset003_Liver; or the whole name."""
    return name.partition("_")[2] or name


def dataset_in_words(name: str) -> str:
    """Return number and name apart, so that they can wrap in a narrow column."""
    return name.removeprefix(DATASET_PREFIX).replace("_", " ", 1)


def names_with_number(names: Iterable[str], text: str) -> list[str]:
    """List those of the names that are full names with the text's number, if it is a number."""
    if not (text.isascii() and text.isdecimal()):
        return []
    full = [name for name in names if is_dataset_name(name)]
    return [name for name in full if int(number_of_dataset(name)) == int(text)]


def folders_of_datasets(folder: Path) -> list[Path]:
    """List the folders that are named as data sets, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_dataset_name(path.name) and path.is_dir())


def full_dataset_name(number: int, short_name: str) -> str:
    """Put together DatasetXXX_Name."""
    return f"{DATASET_PREFIX}{number:03d}_{short_name}"
