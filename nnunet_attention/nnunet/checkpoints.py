"""Tells whole checkpoints from damaged ones without loading them.

nnU-Net writes checkpoints in place. They are zip archives, whose table of contents comes last: a
kill in the middle of the writing leaves an archive without one.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"
# The latest of a training that was begun anew before it was finished; nnU-Net ignores it.
LATEST_EARLIER = "checkpoint_latest_earlier.pth"


def is_whole(path: Path, every_byte: bool = False) -> bool:
    """Tell whether a checkpoint was written to its end.

    Args:
        path: the file's; it need not exist.
        every_byte: verify all checksums too, which takes about a second for a large network; this
            finds the damage that a crash of the machine may leave.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            has_content = any(name.endswith("data.pkl") for name in archive.namelist())
            return has_content and not (every_byte and archive.testzip())
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
        return False


def damaged_checkpoints(fold: Path, every_byte: bool = False) -> tuple[Path, ...]:
    """List those of a fold's checkpoints that cannot be loaded."""
    present = [fold / name for name in (FINAL, LATEST, BEST) if (fold / name).is_file()]
    return tuple(path for path in present if not is_whole(path, every_byte))


def set_aside(paths: Iterable[Path], why: str = "damaged") -> dict[Path, Path]:
    """Rename files so that nnU-Net no longer finds them; nothing is deleted.

    Args:
        paths: the files.
        why: a word for the new names.

    Returns:
        The new path of each file.
    """
    moved = {}
    for path in paths:
        number = 1
        while (target := path.with_name(f"{path.name}.{why}-{number}")).exists():
            number += 1
        os.replace(path, target)
        moved[path] = target
    return moved
