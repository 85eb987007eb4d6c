"""Puts files in one archive, cut into numbered parts that a manifest lists with checksums."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json

MANIFEST = "manifest.json"
_MEBIBYTE = 2**20
_BLOCK = _MEBIBYTE


class _Parts:
    """A file to write to, which continues in the next part when one is full."""

    def __init__(self, folder: Path, part_bytes: int):
        self._folder, self._part_bytes = folder, part_bytes
        self._file = None
        self.parts: list[dict] = []

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            if self._file is None:
                name = f"part_{len(self.parts) + 1:03d}"
                self.parts.append({"name": name, "bytes": 0})
                self._hash = hashlib.sha256()
                self._file = (self._folder / name).open("wb")
            taken = rest[: self._part_bytes - self.parts[-1]["bytes"]]
            self._file.write(taken)
            self._hash.update(taken)
            self.parts[-1]["bytes"] += len(taken)
            rest = rest[len(taken) :]
            if self.parts[-1]["bytes"] == self._part_bytes:
                self.close()
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self.parts[-1]["sha256"] = self._hash.hexdigest()


def write_parts(
    folder: Path, files: Iterable[tuple[Path, str]], about: Mapping, part_mebibytes: float
) -> dict:
    """Write files, or folders, under their names in the archive, and at last the manifest.

    Raises:
        CommandError: if the folder holds anything, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CommandError(f"-o {folder} is not empty; choose another, or empty it")
        parts = _Parts(folder, int(part_mebibytes * _MEBIBYTE))
        with tarfile.open(fileobj=parts, mode="w|") as archive:
            for path, name in files:
                archive.add(path, name)
        parts.close()
        manifest = {**about, "parts": parts.parts}
        write_json(folder / MANIFEST, manifest)
    except OSError as error:
        raise CommandError(f"-o {folder}: cannot be written: {error}") from error
    return manifest


def read_manifest(folder: Path) -> dict:
    """Read the manifest of a pack.

    Raises:
        CommandError: if there is none, or it is not one of ours.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest.get("parts"), list):
        raise CommandError(f"{folder / MANIFEST} names no parts; give the folder of a pack")
    return manifest


def check_parts(folder: Path, manifest: Mapping) -> None:
    """Compare sizes and checksums of all parts.

    Raises:
        CommandError: naming every part that is missing or differs.
    """
    bad = []
    for part in manifest["parts"]:
        path = folder / part["name"]
        if not path.is_file():
            bad.append(f"{part['name']} is missing")
        elif _sha256(path) != part["sha256"]:
            bad.append(f"{part['name']} differs from what was packed")
    if bad:
        raise CommandError(f"{folder}: {', '.join(bad)}; copy them again")


def extract(folder: Path, manifest: Mapping, target: Path) -> None:
    """Put the files of a checked pack into a folder."""
    with _joined(folder, manifest) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        for member in archive:
            path = (target / member.name).resolve()
            if not (member.isfile() or member.isdir()) or target.resolve() not in path.parents:
                raise CommandError(f"{folder}: refused {member.name!r}, which points outside")
            # Older versions of Python have no filter.
            archive.extract(member, target, **({"filter": "data"} if _HAS_FILTER else {}))


_HAS_FILTER = hasattr(tarfile, "data_filter")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class _Joined:
    """The parts one after the other, to read from."""

    def __init__(self, blocks: Iterator[bytes]):
        self._blocks, self._rest = blocks, b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (block := next(self._blocks, b"")):
            self._rest += block
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


@contextmanager
def _joined(folder: Path, manifest: Mapping) -> Iterator[_Joined]:
    def blocks() -> Iterator[bytes]:
        for part in manifest["parts"]:
            with (folder / part["name"]).open("rb") as file:
                while block := file.read(_BLOCK):
                    yield block

    running = blocks()
    try:
        yield _Joined(running)
    finally:
        running.close()


def told_sizes(manifest: Mapping) -> str:
    """Return a text with the sizes of the contents, the largest first."""
    sizes = sorted(manifest["sizes"].items(), key=lambda entry: (-entry[1], entry[0]))
    small = [size for _, size in sizes if size < _MEBIBYTE]
    lines = [f"  {name}: {size / _MEBIBYTE:.1f} MiB" for name, size in sizes if size >= _MEBIBYTE]
    if small:
        lines.append(f"  {len(small)} smaller ones: {sum(small) / _MEBIBYTE:.1f} MiB")
    total = sum(part["bytes"] for part in manifest["parts"]) / _MEBIBYTE
    return "\n".join([*lines, f"{len(manifest['parts'])} part(s), {total:.1f} MiB"])
