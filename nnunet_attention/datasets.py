"""Data sets in nnU-Net's folders."""

import os
from collections.abc import Mapping
from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

from nnunet_attention.errors import CommandError


def dataset_name(name_or_id: str) -> str:
    """The full name of a data set given by name or number.

    Raises:
        CommandError: if nnU-Net knows none, or several with that number.
    """
    try:
        name = str(maybe_convert_to_dataset_name(name_or_id))
    except (RuntimeError, ValueError) as error:
        several = str(error).startswith("More than one")
        raise CommandError(
            f"-d {name_or_id}: {'several data sets have' if several else 'no data set has'} this "
            f"number or name in nnUNet_raw={nnUNet_raw.get()} and "
            f"nnUNet_preprocessed={nnUNet_preprocessed.get()}; give DatasetXXX_Name or its number, "
            "and check the variables"
        ) from error
    return name


def dataset_folder(name: str) -> Path:
    """The folder of a data set in nnUNet_preprocessed; it may not be there yet.

    Raises:
        CommandError: if nnUNet_preprocessed is not set.
    """
    if not nnUNet_preprocessed.get():
        raise CommandError(
            "nnUNet_preprocessed is not set; "
            "export nnUNet_preprocessed=/path/to/nnUNet_preprocessed"
        )
    return Path(nnUNet_preprocessed, name)


def raw_folder(name: str) -> Path:
    """The folder of a data set in nnUNet_raw.

    Raises:
        CommandError: if nnUNet_raw is not set, or has no such data set.
    """
    if not nnUNet_raw.get():
        raise CommandError("nnUNet_raw is not set; export nnUNet_raw=/path/to/nnUNet_raw")
    folder = Path(nnUNet_raw, name)
    if not (folder / "dataset.json").is_file():
        raise CommandError(f"{folder / 'dataset.json'}: there is no such file; check -d")
    return folder


def needs_preprocessing(folder: Path, configuration: Mapping, number_of_cases: int) -> bool:
    """Whether data of a configuration are still to be made.

    Args:
        folder: the data set's, in nnUNet_preprocessed.
        configuration: with its `data_identifier`.
        number_of_cases: for training.
    """
    data = folder / configuration["data_identifier"]
    cases = [name for name in os.listdir(data) if name.endswith(".pkl")] if data.is_dir() else []
    return len(cases) < number_of_cases
