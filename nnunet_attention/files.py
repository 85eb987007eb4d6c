"""Reads JSON with clear errors; writes files whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from nnunet_attention.errors import CommandError

# Options of `json_text` that match how nnU-Net writes plans and splits. The order of some entries
# matters to nnU-Net, and numbers in its fingerprint can be NaN.
NNUNET_LAYOUT = {"indent": 4, "sort_keys": False, "allow_nan": True}

# Why a disk or a path cannot be written, and what can be done about it.
_REMEDIES = {
    errno.ENOSPC: "the disk is full; make room and start again, finished work is kept",
    errno.EDQUOT: "the quota is used up; make room and start again, finished work is kept",
    errno.EROFS: "the file system is read-only; choose another folder or mount it for writing",
    errno.EACCES: "permission denied; choose another folder or ask its owner",
    errno.EPERM: "not permitted; choose another folder or ask its owner",
    errno.ENOTDIR: "part of the path is a file; choose another folder",
    errno.EEXIST: "there is a file of this name; choose another folder",
    errno.ENOTEMPTY: "the folder is not empty; choose another folder",
    errno.EISDIR: "there is a folder of this name; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EIO: "the disk failed to read or write; check its health",
    errno.ESTALE: "the network disk has lost the file; start again",
}


_ATTEMPTS = 5
_CHUNK_BYTES = 2**24


def parse_json(text: str) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: if it is not JSON, or is nested too deeply for Python.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> dict:
    """Read a JSON file that holds an object.

    Raises:
        CommandError: if there is no such file, or it holds something else.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{path} holds no JSON object")
    return content


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content.

    Raises:
        CommandError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {disk_error(error)}") from error
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there; of a link, only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(path: Path, target: Path, to_folder: bool = False) -> None:
    """Make a symbolic link, which must not exist.

    Args:
        path: the link.
        target: what it leads to; a relative one is taken from the link's folder.
        to_folder: whether the target is a folder, which Windows must be told.

    Raises:
        CommandError: if the system makes none, as Windows does not for everybody.
    """
    try:
        path.symlink_to(target, to_folder)
    except (OSError, NotImplementedError) as error:
        reason = disk_error(error) if isinstance(error, OSError) else str(error)
        remedy = "; on Windows, switch on Developer Mode" if sys.platform == "win32" else ""
        raise CommandError(
            f"{path} cannot be made as a symbolic link to {target}: {reason}{remedy}"
        ) from error


def is_plain_name(value: object) -> bool:
    """Tell whether a value is the name of a file or folder, not a path that leads elsewhere."""
    return isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a path beside the target; it replaces the target if the block ends without an error."""
    # Processes on other machines that share the folder may have our process ID.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        # Where nothing can be written, nothing can be removed either; the first error says more.
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def folder_written_beside(folder: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder; it replaces the target if the block ends without an error.

    Args:
        folder: the target; a link is followed.
        replace: whether to replace an existing folder that is not empty; otherwise an OSError is
            raised, even if it was filled only in the meantime.
    """
    folder = folder.resolve()
    mark = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    beside, before = (folder.with_name(f".{folder.name}.{mark}.{word}") for word in ("part", "old"))
    try:
        beside.mkdir()
        yield beside
        if folder.is_dir() and not replace:
            folder.rmdir()
        if os.path.lexists(folder):
            os.rename(folder, before)
        os.rename(beside, folder)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        if before.exists() and not os.path.lexists(folder):
            os.rename(before, folder)
        shutil.rmtree(beside, ignore_errors=True)


def require_writable(folder: Path, option: str = "") -> None:
    """Check that files can be written in a folder, before hours are spent on making them.

    Args:
        folder: the folder; one that does not exist is made for the check and removed again.
        option: the command-line option that named it, for the message.

    Raises:
        CommandError: if nothing can be written there.
    """
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    probe = folder / f".nnunet-attention.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    try:
        for attempt in range(_ATTEMPTS):
            # Another command that started at the same time may remove the folder that it made.
            with suppress(FileNotFoundError) if attempt < _ATTEMPTS - 1 else nullcontext():
                folder.mkdir(parents=True, exist_ok=True)
                # Not an empty file: a full disk still takes those.
                probe.write_bytes(b"0" * 65536)
                break
    except OSError as error:
        where = f"{option}: " if option else ""
        raise CommandError(f"{where}cannot write in {folder}: {disk_error(error)}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        with suppress(OSError):  # Another process may be using the folder by now.
            for path in made:
                path.rmdir()


def require_writable_file(path: Path, option: str = "") -> None:
    """Check that a file can be written, as `require_writable` does; it may replace another.

    Raises:
        CommandError: if it cannot be written.
    """
    if path.is_dir():
        where = f"{option} " if option else ""
        raise CommandError(f"{where}{path}: {_REMEDIES[errno.EISDIR]}")
    require_writable(path.parent, option)


def disk_error(error: OSError) -> str:
    """Say what is wrong with a disk or a path, and what can be done about it."""
    remedy = None if error.errno is None else _REMEDIES.get(error.errno)
    return remedy or error.strerror or str(error)


def is_disk_error(error: OSError) -> bool:
    """Tell whether `disk_error` knows a remedy; otherwise the error may be a bug of ours."""
    return error.errno in _REMEDIES


def json_text(content, indent: int = 2, sort_keys: bool = True, allow_nan: bool = False) -> str:
    """Return JSON that ends with a newline; the options are those of `json.dumps`."""
    return json.dumps(content, indent=indent, sort_keys=sort_keys, allow_nan=allow_nan) + "\n"


def write_json(path: Path, content, **layout) -> None:
    """Write JSON, by default sorted (see `json_text`), beside its target and rename it."""
    write_text(path, json_text(content, **layout))


def write_text(path: Path, text: str) -> None:
    """Write a text file beside its target and rename it."""
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write text files, given by name, into a folder, all or none; replace existing ones.

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
        raise CommandError(f"-o {folder}: cannot be written: {disk_error(error)}") from error
    return list(paths)
