"""Manages the folder that a run works in, and its results so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.files import read_json, write_json
from nnunet_attention.nnunet.folders import Folders


@dataclass(frozen=True)
class Work:
    """Names the contents of the folder.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def results(self) -> Path:
        """The folder with a JSON file for each finished stage; all that a report needs."""
        return self.root / "results"

    @property
    def preprocessed(self) -> Path:
        return self.root / "nnUNet_preprocessed"

    @property
    def source(self) -> Path:
        """The folder of the Decathlon's task folders."""
        return self.root / "source"

    def scratch(self, stage: str) -> Path:
        """Return the folder in which a stage's command puts what it finds."""
        return self.root / "scratch" / stage

    def log(self, stage: str) -> Path:
        return self.root / "logs" / f"{stage}.log"

    def folders(self, results: Path | None = None) -> dict[str, str]:
        """Return nnU-Net's three folders, as variables of the environment."""
        results = results or self.root / "nnUNet_results"
        return Folders(self.root / "nnUNet_raw", self.preprocessed, results).variables

    def trained(self, seed: int) -> Path:
        """Return the folder of one seed's results: nnU-Net's names do not contain seeds."""
        return self.root / f"nnUNet_results_seed{seed}"

    def finished(self) -> dict[str, dict]:
        """Read the result of each stage, by its name."""
        return {path.stem: read_json(path) for path in sorted(self.results.glob("*.json"))}

    def finish(self, stage: str, result: dict) -> None:
        """Write a result, whole or not at all."""
        self.results.mkdir(parents=True, exist_ok=True)
        write_json(self.results / f"{stage}.json", result)
