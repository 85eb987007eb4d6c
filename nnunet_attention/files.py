"""Reads JSON with clear errors; writes files whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_attention.errors import CommandError


def read_json(path: Path) -> dict:
    """Reads a JSON file that holds an object.

    Raises:
        CommandError: if there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{path} holds no JSON object")
    return content


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Gives a path beside the target, which is renamed when the block ends without an error."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, content) -> None:
    """Writes sorted JSON beside its target and renames it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file beside its target and renames it."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
