"""Downloads one file, and resumes where an earlier attempt stopped."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.errors import CommandError
from nnunet_attention.files import write_json

if TYPE_CHECKING:
    from requests import Response

# Called with the number of bytes that are there and, where known, the total.
OnProgress = Callable[[int, int | None], None]

# If the connection drops within a chunk, what is lost of it is received again.
_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = (20, 60)  # To connect; between two pieces of data.
_WAITS_SECONDS = (1, 2, 5, 10, 30)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True)
class Version:
    """The version of a file that a part belongs to.

    Attributes:
        url: The address that the part came from.
        size_bytes: Size of the whole file; None where the server does not say.
        validator: The server's strong ETag or its date; None where it gives neither.
    """

    url: str
    size_bytes: int | None
    validator: str | None


class _DroppedConnectionError(Exception):
    """The connection ended early; what came before is kept."""


def download(
    url: str,
    target: Path,
    md5: str | None = None,
    on_progress: OnProgress = lambda done, total: None,
    waits_seconds: tuple[float, ...] = _WAITS_SECONDS,
) -> Path:
    """Download to `NAME.part` beside the target and rename it when it is complete and right.

    A part that an earlier call left is continued with an HTTP range request, if the server still
    has the same version and supports ranges; otherwise the download starts over.

    Args:
        url: Address of the file, with http or https.
        target: Where the file goes; one that is there is replaced.
        md5: MD5 sum of the whole file, hexadecimal; with None only its size is checked, where the
            server tells it.
        on_progress: Function that is told how many bytes are there, and of how many.
        waits_seconds: Waits before further attempts while the connection keeps dropping; after an
            attempt that brought new data they begin with the first again.

    Returns:
        The target.

    Raises:
        CommandError: If the server cannot be reached or refuses, the connection drops again and
            again, the disk is full, or the sum is wrong.
    """
    part = _Part(target, url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(part, on_progress, waits_seconds)
        if md5 is not None:
            actual = md5_of(part.path)
            if actual != md5:
                part.remove()
                raise CommandError(
                    f"{url}: the MD5 sum of the download is {actual}, wanted {md5}; it was "
                    "removed. Run the command again; if the sum stays the same, the file on the "
                    "server has changed"
                )
        os.replace(part.path, target)
        part.remove()
    except OSError as error:
        raise CommandError(
            f"{part.path} cannot be written: {error}; what has been downloaded is kept, so make "
            "room and run the command again"
        ) from error
    return target


def md5_of(path: Path) -> str:
    """Return the MD5 sum of a file of any size, hexadecimal."""
    # Against damage, not against forgery: MD5 is what is published.
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


class _Part:
    """The part of a file that has arrived, and the note beside it that tells its version."""

    def __init__(self, target: Path, url: str):
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self.url = url

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self) -> Version | None:
        """Return the noted version; None where there is no note, or one of another address."""
        try:
            version = Version(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.url == self.url else None

    def begin(self, version: Version) -> None:
        """Start over; the note is written before the first byte."""
        self.path.write_bytes(b"")
        write_json(self._note, asdict(version))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _receive(part: _Part, on_progress: OnProgress, waits_seconds: tuple[float, ...]) -> None:
    """Make attempts until the part has the whole file."""
    began_bytes = part.size_bytes
    failures = 0
    while True:
        before_bytes = part.size_bytes
        try:
            _attempt(part, on_progress)
            return
        except _DroppedConnectionError as error:
            failures = 1 if part.size_bytes > before_bytes else failures + 1
            # Nothing came yet: there is no connection, and waiting would only hide that.
            hopeless = part.size_bytes == began_bytes and before_bytes == began_bytes
            if hopeless or failures > len(waits_seconds):
                kept = f"; {part.size_bytes / 1e6:.1f} MB are kept" if part.size_bytes else ""
                raise CommandError(
                    f"{part.url} cannot be downloaded: {error}{kept}; run the command again when "
                    "there is a connection, or use a local copy with msd run --from"
                ) from error
            time.sleep(waits_seconds[failures - 1])


def _attempt(part: _Part, on_progress: OnProgress) -> None:
    import requests

    known = part.version() if part.size_bytes else None
    if known is not None and known.size_bytes == part.size_bytes:
        on_progress(part.size_bytes, known.size_bytes)
        return
    # If the transfer were compressed, a range would refer to other bytes.
    headers = {"Accept-Encoding": "identity"}
    if known is not None:
        headers["Range"] = f"bytes={part.size_bytes}-"
        if known.validator is not None:
            headers["If-Range"] = known.validator
    try:
        with requests.get(
            part.url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS
        ) as answer:
            if not _continues(answer, part, known):
                if answer.status_code != 200:
                    # Our range does not fit this version; without the part we ask for no range.
                    part.remove()
                    raise _DroppedConnectionError("the file on the server changed")
                part.begin(_version(answer, part.url))
            _append(answer, part, on_progress)
    except requests.RequestException as error:
        raise _DroppedConnectionError(_reason(error)) from error
    version = part.version()
    announced = None if version is None else version.size_bytes
    if announced is not None and part.size_bytes < announced:
        raise _DroppedConnectionError(f"only {part.size_bytes} of {announced} bytes arrived")
    if announced is not None and part.size_bytes > announced:
        part.remove()
        raise CommandError(
            f"{part.url}: the server sent more than the {announced} bytes it announced; the "
            "download was removed, so run the command again"
        )


def _continues(answer: Response, part: _Part, known: Version | None) -> bool:
    """Tell whether the answer is the rest of the part.

    Raises:
        CommandError: If the server refuses.
        _DroppedConnectionError: If the server is only busy.
    """
    if answer.status_code >= 500 or answer.status_code == 429:
        raise _DroppedConnectionError(f"the server answered {answer.status_code} {answer.reason}")
    if answer.status_code not in (200, 206, 416):
        raise CommandError(
            f"{part.url} cannot be downloaded: the server answered {answer.status_code} "
            f"{answer.reason}; use a local copy with msd run --from"
        )
    if known is None or answer.status_code != 206:
        return False
    place = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return (
        place is not None
        and int(place[1]) == part.size_bytes
        and known.size_bytes in (None, int(place[2]))
    )


def _version(answer: Response, url: str) -> Version:
    size = answer.headers.get("Content-Length", "")
    tag = answer.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else None
    return Version(
        url,
        int(size) if size.isdecimal() else None,
        strong or answer.headers.get("Last-Modified"),
    )


def _append(answer: Response, part: _Part, on_progress: OnProgress) -> None:
    version = part.version()
    total = None if version is None else version.size_bytes
    done = part.size_bytes
    if total is not None and total - done > (free := shutil.disk_usage(part.path.parent).free):
        raise CommandError(
            f"{part.path.parent} has {free / 1e9:.1f} GB free, but the rest of {part.url} needs "
            f"{(total - done) / 1e9:.1f} GB; make room, or choose another folder"
        )
    with part.path.open("ab") as file:
        on_progress(done, total)
        for piece in answer.iter_content(_CHUNK_BYTES):
            file.write(piece)
            done += len(piece)
            on_progress(done, total)


def _reason(error: Exception) -> str:
    """Return what the innermost error says, without the layers of libraries around it."""
    inner: BaseException = error
    while (below := inner.__cause__ or inner.__context__) is not None:
        inner = below
    return " ".join(str(inner).split()) or type(inner).__name__
