"""Checks that a folder's images are named as nnU-Net requires, CASE_0000 and so on."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.inputs import header_of


def named_cases(folder: Path, ending: str, channels: int, reader: str) -> list[str]:
    """Return the cases in a folder, after checking that each has all channels of the model.

    Args:
        folder: the folder of the images.
        ending: the file ending of the data set.
        channels: the number of channels that the model takes.
        reader: the name of nnU-Net's reader, as in plans.

    Raises:
        CommandError: naming the first file or case that is not as required.
    """
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(ending))
    names = [path.name for path in paths]
    if not names:
        raise CommandError(
            f"-i {folder}: there are no images; files must be named CASE_0000{ending}"
        )
    noted = [name for name in names if name.startswith("._")]
    if noted:
        raise CommandError(
            f"-i {folder}: {noted[0]} is not an image, but metadata that macOS keeps about "
            f"{noted[0][2:]}; delete such files: find {folder} -name '._*' -delete"
        )
    absent = [path.name for path in paths if not path.is_file()]
    if absent:
        # nnU-Net would skip it.
        raise CommandError(
            f"-i {folder}: {absent[0]} is a folder, or a link to a missing file; put the image in "
            "its place, or remove it"
        )
    numbers: dict[str, list[str]] = {}
    for name in names:
        case, separator, number = name[: -len(ending)].rpartition("_")
        if not (case and separator and len(number) == 4 and number.isdecimal()):
            raise CommandError(
                f"-i {folder}: {name} has no channel in its name; files must be named "
                f"CASE_0000{ending}, such as {name[: -len(ending)]}_0000{ending}"
            )
        numbers.setdefault(case, []).append(number)
    for case, given in numbers.items():
        _check_channels(folder, case, given, ending, channels, reader)
    return sorted(numbers)


def check_label_images(flag: str, folder: Path, cases: Sequence[str], ending: str) -> None:
    """Check that a folder has a label image of every case.

    Args:
        flag: the command's flag, for the message.
        folder: the folder of the label images.
        cases: the names of the cases.
        ending: the file ending of the data set.

    Raises:
        CommandError: if one is missing.
    """
    missing = [case for case in cases if not (folder / f"{case}{ending}").is_file()]
    if missing:
        raise CommandError(
            f"{flag} {folder}: {len(missing)} of {len(cases)} label images are missing; the first "
            f"is {missing[0]}{ending}"
        )


def _check_channels(
    folder: Path, case: str, given: list[str], ending: str, channels: int, reader: str
) -> None:
    required = [f"{channel:04d}" for channel in range(channels)]
    known = required[0] if len(required) == 1 else f"{required[0]} to {required[-1]}"
    unknown = [number for number in given if number not in required]
    if unknown:
        raise CommandError(
            f"-i {folder}: case {case} has the channel(s) {', '.join(given)}, but the model takes "
            f"{known}; if it is a case of its own, name it {case}_{unknown[0]}_0000{ending}"
        )
    missing = [f"{case}_{number}{ending}" for number in required if number not in given]
    if missing and not (
        given == ["0000"] and _holds_all(folder / f"{case}_0000{ending}", channels, reader)
    ):
        raise CommandError(
            f"-i {folder}: case {case}: {', '.join(missing)} missing; the model takes {channels} "
            "channel(s) for each case"
        )


def _holds_all(path: Path, channels: int, reader: str) -> bool:
    """Tell whether a case's first file holds all channels, as pictures hold their colours."""
    header = header_of(path, reader)
    return header is None or header.channels == channels
