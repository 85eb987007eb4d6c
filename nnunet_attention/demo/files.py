"""Writes files whole or not at all."""

import json
import os
from pathlib import Path


def write_json(path: Path, content) -> None:
    """Writes sorted JSON beside its target and renames it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file beside its target and renames it."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
