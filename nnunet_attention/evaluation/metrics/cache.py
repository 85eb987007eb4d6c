"""Caches the results of cases in a file beside the summary."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

# Part of every key; to be increased when a metric changes its meaning, or the reading of files.
VERSION = 2


def cache_path(summary: Path) -> Path:
    """Return the file that caches the results of a summary's cases."""
    return summary.with_name(f"{summary.name}.cache")


def file_identity(path: Path | None) -> list[str | int] | None:
    """Return place, size in bytes and modification time in ns; None if there is no such file.

    Size and time alone may be those of another folder's file: uncompressed images of one shape are
    all of one size, and archives and copies keep times, many of them in whole seconds only.
    """
    if path is None or not path.is_file():
        return None
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


class ResultCache:
    """Keeps results in a file with a line per case, so that a computation can resume.

    Incomplete or altered lines are ignored, and their cases computed again. If the file cannot be
    written, everything but resuming works.
    """

    def __init__(self, path: Path):
        self.path = path
        self._results: dict[str, dict] = {}
        self._writable = True
        self._read()

    def get(self, identity: object) -> dict | None:
        """Return the cached result of a case with the same identity; None if there is none."""
        return self._results.get(_digest(identity))

    def put(self, identity: object, result: dict) -> None:
        """Keep a result."""
        key = _digest(identity)
        self._results[key] = result
        if not self._writable:
            return
        entry = {"key": key, "result": result, "check": _digest([key, result])}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                # Terminates a line that an interruption left half written.
                file.write(f"\n{json.dumps(entry)}\n")
        except OSError as error:
            logger.warning("%s cannot be written, so results are not kept: %s", self.path, error)
            self._writable = False

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning(
                "%s cannot be read, so everything is computed again: %s", self.path, error
            )
            return
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
                intact = entry["check"] == _digest([entry["key"], entry["result"]])
                if intact:
                    self._results[entry["key"]] = entry["result"]
            except (KeyError, TypeError, ValueError):
                intact = False
            if not intact:
                logger.info("%s: a damaged entry is computed again", self.path)


def _digest(content: object) -> str:
    # json writes NaN as such, and reads it back.
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
