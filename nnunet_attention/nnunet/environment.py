"""Names nnU-Net's variables and says what can be wrong with a folder's path in one."""

import os
import re
from pathlib import Path

from nnunet_attention.errors import CommandError

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"


def folder_from_environment(variable: str) -> Path:
    """Return the folder that one of nnU-Net's variables names; it need not be there.

    Raises:
        CommandError: if the variable is not set, or has quotation marks or the like in it.
    """
    value = os.environ.get(variable)
    if not value:
        raise CommandError(f"{variable} is not set; export {variable}=/path/to/{variable}")
    check_folder_variable(variable, value)
    return Path(value)


def check_folder_variable(name: str, value: str) -> None:
    """Refuse a value that names no folder because of how it was written; see `how_misread`.

    Raises:
        CommandError: with the value that was meant.
    """
    misread = how_misread(value)
    if misread is not None and not Path(value).is_dir():
        what, meant = misread
        raise CommandError(f"{name}: the value {value} {what}; set it to {meant}")


def how_misread(value: str) -> tuple[str, str] | None:
    """Tell what in a value a shell would have removed or expanded.

    Such things remain where the variable was not set by a shell, but in an editor, a Dockerfile,
    Windows' settings, or between single quotation marks.

    Returns:
        What is wrong with the value, to follow "the value", and the value that was meant; None
        where nothing is wrong.
    """
    bare = value.strip()
    unquoted = bare.strip("\"'\u201c\u201d\u2018\u2019")
    if unquoted != bare:
        return "contains quotation marks, which count as part of the path", unquoted
    if bare != value:
        return "begins or ends with a space, which counts as part of the path", bare
    if bare.startswith("~"):
        meant = os.path.expanduser(bare)
        return "begins with ~, which only a shell expands to the home folder", meant
    if re.search(r"\$\w|\$\{\w|%\w+%", bare):
        return "contains the name of a variable instead of its value", os.path.expandvars(bare)
    return None
