"""What is recorded of a training beside its checkpoints, in files of one JSON object each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json


def is_whole(value: object, lowest: int = 0) -> bool:
    """Tell whether a value is a whole number of at least `lowest`; True and 1.0 are not."""
    return type(value) is int and value >= lowest


def read_record(
    path: Path, is_right: Callable[[dict], bool], wanted: str, if_removed: str
) -> dict | None:
    """Read a record; None where there is none.

    Args:
        path: the file.
        is_right: tells whether its content is what it should be.
        wanted: what the file must hold, for the message.
        if_removed: what follows from removing the file, likewise.

    Raises:
        CommandError: if the file holds something else, with the remedy.
    """
    if not path.exists():
        return None
    content = read_json(path)
    if not is_right(content):
        raise CommandError(
            f"{path} must hold {wanted}, but has {content}; put the file back, or remove it "
            f"({if_removed})"
        )
    return content


def write_record(path: Path, content: dict | None) -> None:
    """Write a record; None removes that of an earlier training."""
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, content)
