"""The demo's own folder: every path in it, and what has been done there."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.errors import CommandError
from nnunet_attention.files import require_writable, write_json

# Tells a demo folder from any other folder that holds a demo.json.
_MADE_BY = "nnunet-attention demo"
_OWN_ENTRIES = (
    "comparison.png",
    "logs",
    "nnUNet_preprocessed",
    "nnUNet_raw",
    "nnUNet_results",
    "phantom",
    "predictions",
    "results.json",
    "results.md",
    "task",
)
_STATE_FILE = "demo.json"


@dataclass
class DemoFolder:
    """A demo folder with its state; the state is on disk after every change.

    Attributes:
        root: absolute path.
        settings: as stored, see `DemoSettings.as_stored`.
        finished: names of the steps that are done.
        seconds: wall time by step, summed over interrupted attempts.
    """

    root: Path
    settings: dict
    finished: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, settings: DemoSettings, overwrite: bool = False) -> "DemoFolder":
        """Creates the folder, or continues the one that is there.

        Args:
            root: the folder; it need not exist.
            settings: must be those the folder was begun with.
            overwrite: start afresh where a demo folder exists; foreign files in it stay.

        Raises:
            CommandError: if the folder holds something else, or a demo with other settings.
        """
        root = root.absolute()
        wanted = settings.as_stored()
        present = _read_state(root)
        require_writable(root, "-o")
        if present is not None and not overwrite:
            _refuse_other_settings(root, present["settings"], wanted)
            return cls(root, wanted, present["finished"], present["seconds"])
        if present is not None:
            for name in _OWN_ENTRIES:
                remove(root / name)
        root.mkdir(parents=True, exist_ok=True)
        folder = cls(root, wanted)
        folder._save()
        return folder

    def add_seconds(self, step: str, seconds: float) -> None:
        """Adds the time of one attempt."""
        self.seconds[step] = round(self.seconds.get(step, 0.0) + seconds, 2)
        self._save()

    def finish(self, step: str) -> None:
        """Records a step as done."""
        self.finished.append(step)
        self._save()

    def _save(self) -> None:
        write_json(
            self.root / _STATE_FILE,
            {
                "made_by": _MADE_BY,
                "settings": self.settings,
                "finished": self.finished,
                "seconds": self.seconds,
            },
        )

    @property
    def raw(self) -> Path:
        return self.root / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        return self.root / "nnUNet_preprocessed"

    @property
    def nnunet_results(self) -> Path:
        return self.root / "nnUNet_results"

    @property
    def phantom(self) -> Path:
        return self.root / "phantom"

    @property
    def task(self) -> Path:
        return self.root / "task"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison.png"

    @property
    def results_json(self) -> Path:
        return self.root / "results.json"

    @property
    def results_md(self) -> Path:
        return self.root / "results.md"

    def plans(self, dataset_name: str) -> Path:
        """The plans that nnU-Net made."""
        return self.preprocessed / dataset_name / "nnUNetPlans.json"

    def read_plans(self, dataset_name: str) -> dict:
        """The content of `plans`."""
        return json.loads(self.plans(dataset_name).read_text(encoding="utf-8"))

    def log(self, step: str) -> Path:
        """Where a step's commands write all their output."""
        return self.root / "logs" / f"{step.replace(' ', '_')}.log"

    def predictions(self, trainer: str) -> Path:
        """Predicted label images of the held-out cases, and nnU-Net's summary.json."""
        return self.root / "predictions" / trainer


def remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_state(root: Path) -> dict | None:
    """The state of a demo folder; None where there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        state = json.loads((root / _STATE_FILE).read_text(encoding="utf-8"))
        if state["made_by"] == _MADE_BY:
            return state
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Whatever it is, it is not ours.
    raise CommandError(
        f"{root} exists and is not a demo folder; choose a new or empty folder with -o"
    )


def _refuse_other_settings(root: Path, present: dict, wanted: dict) -> None:
    differences = [
        f"{name} {_shown(present.get(name))} there, {_shown(wanted.get(name))} now"
        for name in sorted(present.keys() | wanted.keys())
        if present.get(name) != wanted.get(name)
    ]
    if differences:
        raise CommandError(
            f"{root} holds a demo with other settings: {'; '.join(differences)}. "
            "Choose another folder with -o, or start afresh with --overwrite"
        )


def _shown(value) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return "unset" if value is None else str(value)
