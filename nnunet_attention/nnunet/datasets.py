"""Finds data sets in nnU-Net's folders."""

import os
from collections.abc import Mapping
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.dataset_names import (
    DATASET_PREFIX,
    names_with_number,
)
from nnunet_attention.nnunet.environment import PREPROCESSED, RAW, folder_from_environment


def dataset_name(name_or_id: str) -> str:
    """Return the full name of a data set given by name or number.

    Raises:
        CommandError: if nnU-Net knows none, or several with that number.
    """
    if name_or_id.startswith(DATASET_PREFIX):
        return name_or_id
    names = _names_with_number(name_or_id)
    if len(names) == 1:
        return names[0]
    raise CommandError(
        f"-d {name_or_id}: {'several data sets have' if names else 'no data set has'} this "
        f"number or name in {RAW}={os.environ.get(RAW)} and "
        f"{PREPROCESSED}={os.environ.get(PREPROCESSED)}; give DatasetXXX_Name or its number, "
        "and check the variables"
    )


def _names_with_number(text: str) -> list[str]:
    """Return the names of all data sets that have this number."""
    if not (text.isascii() and text.isdecimal()):
        return []
    from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

    try:
        names = [str(name) for name in find_candidate_datasets(int(text))]
    except OSError as error:
        raise CommandError(f"-d {text}: {error.filename}: {error.strerror}; check it") from error
    # nnU-Net matches the beginning of a name: to it, 100 is also Dataset1000_Name.
    return names_with_number(names, text)


def dataset_folder(name: str) -> Path:
    """Return the folder of a data set in nnUNet_preprocessed; it may not be there yet.

    Raises:
        CommandError: if nnUNet_preprocessed is not set.
    """
    return folder_from_environment(PREPROCESSED) / name


def raw_folder(name: str) -> Path:
    """Return the folder of a data set in nnUNet_raw.

    Raises:
        CommandError: if nnUNet_raw is not set, or has no such data set, or one that nnU-Net cannot
            read.
    """
    folder = folder_from_environment(RAW) / name
    if not (folder / DATASET_JSON).is_file():
        raise CommandError(f"{folder / DATASET_JSON}: there is no such file; check -d")
    read_dataset_json(folder / DATASET_JSON, channels=True)
    return folder


def needs_preprocessing(folder: Path, configuration: Mapping, number_of_cases: int) -> bool:
    """Tell whether a configuration's preprocessed data are still to be made.

    Args:
        folder: the data set's, in nnUNet_preprocessed.
        configuration: the configuration, with its `data_identifier`.
        number_of_cases: the number of cases for training.
    """
    data = folder / configuration["data_identifier"]
    cases = [name for name in os.listdir(data) if name.endswith(".pkl")] if data.is_dir() else []
    return len(cases) < number_of_cases


def is_packed(data: Path) -> bool:
    """Tell whether a training will first unpack cases in a folder of preprocessed data.

    nnU-Net does so with .npz, the format of its older versions; nothing is written beside .b2nd.
    """
    names = set(os.listdir(data)) if data.is_dir() else set()
    stems = (name.removesuffix(".npz") for name in names if name.endswith(".npz"))
    return any(not {f"{stem}.npy", f"{stem}_seg.npy"} <= names for stem in stems)
