"""Reads nnU-Net's dataset.json and says what is wrong with one that nnU-Net cannot read."""

from collections.abc import Mapping
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json

DATASET_JSON = "dataset.json"
"""The name of the file, in folders of data, of preprocessed data and of models alike."""
_EXAMPLES = {
    "file_ending": '"file_ending": ".nii.gz"',
    "labels": '"labels": {"background": 0, "organ": 1}',
    "channel_names": '"channel_names": {"0": "CT"}',
    "numTraining": '"numTraining": 20',
}


def read_dataset_json(path: Path, *, channels: bool = False, ending: bool = True) -> dict:
    """Read a data set's description.

    Args:
        path: the path of dataset.json.
        channels: whether `channel_names` is needed, as for planning, training and prediction.
        ending: whether `file_ending` is needed, as for everything but networks and labels.

    Raises:
        CommandError: in one line, naming the file, what it lacks and how that should look.
    """
    content = read_json(path)
    check_dataset_json(content, str(path), channels=channels, ending=ending)
    return content


def check_dataset_json(
    content: Mapping, where: str, *, channels: bool = False, ending: bool = True
) -> None:
    """Check the entries of a description that nnU-Net and this package read.

    Args:
        content: what dataset.json holds.
        where: its path, or where else it comes from.
        channels: see `read_dataset_json`.
        ending: see `read_dataset_json`.

    Raises:
        CommandError: see `read_dataset_json`.
    """
    if ending and _is_first_version(content):
        raise CommandError(
            f"{where} has the format of nnU-Net v1 or of the Medical Segmentation Decathlon: it "
            "has no file_ending. Convert the data set with nnUNetv2_convert_old_nnUNet_dataset, "
            "or a Decathlon task with nnUNetv2_convert_MSD_dataset"
        )
    names = _entry_of_channels(content)
    for name, is_needed in (("file_ending", ending), ("labels", True), (names, channels)):
        if is_needed and name not in content:
            raise _wrong(where, name, "is missing")
    if ending:
        _check_ending(where, content["file_ending"])
    _check_labels(where, content["labels"])
    if channels and str(content["labels"].get("background")) != "0":
        raise _wrong(where, "labels", "lacks the background, which is 0")
    if names in content:
        _check_channels(where, names, content[names])
    cases = content.get("numTraining", 0)
    if not _is_number(cases) or int(cases) < 0:
        raise _wrong(where, "numTraining", f"is {cases!r}, not a number of cases")
    if "dataset" in content and not isinstance(content["dataset"], Mapping):
        raise CommandError(
            f"{where}: dataset does not name cases; it should look like "
            '"dataset": {"case": {"images": ["case.nii.gz"], "label": "label.nii.gz"}}'
        )


def channel_names(content: Mapping) -> Mapping[str, str]:
    """Return the names of the images' channels, by their numbers.

    Args:
        content: what dataset.json holds, checked with `channels`; the old name of the entry takes
            precedence over the new one, as in nnU-Net.
    """
    return content[_entry_of_channels(content)]


def channel_names_in_order(channels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of channels, given by their numbers, in the order of these."""
    return tuple(str(name) for _, name in sorted(channels.items(), key=lambda one: int(one[0])))


def number_of_cases(content: Mapping, where: str) -> int:
    """Return the number of training cases that a description states.

    Raises:
        CommandError: if it does not.
    """
    if "numTraining" not in content:
        raise _wrong(where, "numTraining", "is missing")
    return int(content["numTraining"])


def _entry_of_channels(content: Mapping) -> str:
    # nnU-Net reads the old name too, and first.
    return "modality" if "modality" in content else "channel_names"


def _is_first_version(content: Mapping) -> bool:
    return "file_ending" not in content and (
        "modality" in content or isinstance(content.get("training"), list)
    )


def _check_ending(where: str, ending: object) -> None:
    if not (isinstance(ending, str) and len(ending) > 1 and ending.startswith(".")):
        raise _wrong(where, "file_ending", f"is {ending!r} but must begin with a dot")


def _check_labels(where: str, labels: object) -> None:
    if not isinstance(labels, Mapping) or not labels:
        raise _wrong(where, "labels", f"is {labels!r}, not a mapping from names to values")
    if _is_inverted(labels):
        raise _wrong(where, "labels", "must be NAME: NUMBER, but is the wrong way round")
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(map(_is_number, values)):
            raise _wrong(where, "labels", f"has {value!r} for {name}, not a whole number")


def _check_channels(where: str, name: str, channels: object) -> None:
    if not isinstance(channels, Mapping) or not channels:
        raise _wrong(where, name, f"is {channels!r}, not a mapping from channel numbers to names")
    numbers = [key for key in channels if not _is_number(key)]
    if numbers and all(_is_number(value) for value in channels.values()):
        raise _wrong(where, name, "has names and numbers the wrong way round")
    numbered = [str(number) for number in range(len(channels))]
    if sorted(map(str, channels)) != sorted(numbered):
        raise _wrong(where, name, f"has the channels {', '.join(map(str, channels))}, not 0 to N-1")
    for value in channels.values():
        if not isinstance(value, str):
            raise _wrong(where, name, f"has the name {value!r}, which is not text")


def _is_inverted(labels: Mapping) -> bool:
    return all(_is_number(key) for key in labels) and not all(
        _is_number(value) or isinstance(value, list) for value in labels.values()
    )


def _is_number(value: object) -> bool:
    """Tell whether it is a whole number, not negative, or its digits, which nnU-Net takes too."""
    if isinstance(value, str):
        return value.isascii() and value.isdecimal()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong(where: str, name: str, what: str) -> CommandError:
    example = _EXAMPLES["channel_names" if name == "modality" else name]
    return CommandError(f"{where}: {name} {what}; it should look like {example}")
