"""Describes the demo's own folder: every path in it, and the settings it was created with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.errors import CommandError
from nnunet_attention.files import remove, require_writable, write_json
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.output import Output
from nnunet_attention.nnunet.folders import Folders

# Distinguishes a demo folder from any other folder that holds a demo.json.
_MADE_BY = "nnunet-attention demo"
# Files and folders that a demo creates, or that earlier versions created.
_OWN_ENTRIES = (
    ".task.part",
    "attempts",
    "comparison.png",
    "leaderboard",
    "logs",
    "manifest.json",
    "nnUNet_preprocessed",
    "nnUNet_raw",
    "nnUNet_results",
    "phantom",
    "predictions",
    "results.json",
    "results.md",
    "task",
)
_SETTINGS_FILE = "demo.json"


@dataclass(frozen=True)
class DemoFolder:
    """A demo's folder; nnU-Net's folders in it show how far the demo has got.

    Attributes:
        root: Absolute path.
    """

    root: Path

    @classmethod
    def open(cls, root: Path, settings: DemoSettings, overwrite: bool = False) -> DemoFolder:
        """Create the folder, or reopen an existing one.

        Args:
            root: The folder; it need not exist.
            settings: Settings of the demo; must equal those that the folder was created with.
            overwrite: Whether to start afresh if a demo folder exists; other files in it are kept.

        Returns:
            The folder.

        Raises:
            CommandError: If the folder holds something else, or a demo with other settings.
            LockedError: If another process is training in the demo that is to be overwritten.
        """
        root = root.absolute()
        requested = settings.as_stored()
        present = _read_settings(root)
        require_writable(root, "-o")
        if present is not None and not overwrite:
            _refuse_other_settings(root, present, requested)
            return cls(root)
        if present is not None:
            Lock(Output(root).lock, str(root)).check_free()
            for name in _OWN_ENTRIES:
                remove(root / name)
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / _SETTINGS_FILE, {"made_by": _MADE_BY, "settings": requested})
        return cls(root)

    @property
    def nnunet(self) -> Folders:
        """nnU-Net's three folders."""
        return Folders(
            self.root / "nnUNet_raw",
            self.root / "nnUNet_preprocessed",
            self.root / "nnUNet_results",
        )

    @property
    def task(self) -> Path:
        """The folder that holds the task folder with all of the demo's cases, once complete."""
        return self.root / "task"

    @property
    def unfinished_task(self) -> Path:
        """The folder in which the task folder is built."""
        return self.root / ".task.part"

    @property
    def comparison(self) -> Path:
        """The picture."""
        return self.root / "comparison.png"

    @property
    def results_json(self) -> Path:
        return self.root / "results.json"

    @property
    def results_md(self) -> Path:
        return self.root / "results.md"

    @property
    def leaderboard(self) -> Path:
        """The folder of the leaderboard's files."""
        return self.root / "leaderboard"

    @property
    def logs(self) -> Path:
        """The folder for the output of all commands."""
        return self.root / "logs"


def _read_settings(root: Path) -> dict | None:
    """Read the settings of a demo folder; return None if it is new or empty."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        content = json.loads((root / _SETTINGS_FILE).read_text(encoding="utf-8"))
        if content["made_by"] == _MADE_BY:
            return dict(content["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Whatever it is, it is not ours.
    raise CommandError(
        f"{root} exists and is not a demo folder; choose a new or empty folder with -o"
    )


def _refuse_other_settings(root: Path, present: dict, requested: dict) -> None:
    differences = [
        f"{name} {_shown(present.get(name))} there, {_shown(requested.get(name))} now"
        for name in sorted(present.keys() | requested.keys())
        if present.get(name) != requested.get(name)
    ]
    if differences:
        raise CommandError(
            f"{root} holds a demo with other settings: {'; '.join(differences)}. "
            "Choose another folder with -o, or start afresh with --overwrite"
        )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return "unset" if value is None else str(value)
