"""Reads JSON with clear errors; writes files whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nnunet_attention.errors import CommandError

# For `json_text`, as nnU-Net writes plans and splits. It heeds the order of some entries, and
# numbers of its fingerprint can be NaN.
NNUNET_LAYOUT = {"indent": 4, "sort_keys": False, "allow_nan": True}


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


def json_text(content, indent: int = 2, sort_keys: bool = True, allow_nan: bool = False) -> str:
    """JSON that ends with a newline; the options are those of `json.dumps`."""
    return json.dumps(content, indent=indent, sort_keys=sort_keys, allow_nan=allow_nan) + "\n"


def write_json(path: Path, content, **layout) -> None:
    """Writes JSON, by default sorted (see `json_text`), beside its target and renames it."""
    write_text(path, json_text(content, **layout))


def write_text(path: Path, text: str) -> None:
    """Writes a text file beside its target and renames it."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Writes text files by their names into a folder, all or none; files of these names go.

    Raises:
        CommandError: if the folder cannot be written.
    """
    paths = {folder / name: text for name, text in texts.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for path, text in paths.items():
                beside = stack.enter_context(written_beside(path))
                beside.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"-o {folder}: cannot be written: {error}") from error
    return list(paths)
