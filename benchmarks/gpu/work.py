"""The folder that a run works in, and what it has found so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.files import read_json, write_json


@dataclass(frozen=True)
class Work:
    """Names all that lies in the folder.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def results(self) -> Path:
        """One JSON file for each finished stage; all that a report needs."""
        return self.root / "results"

    @property
    def preprocessed(self) -> Path:
        return self.root / "nnUNet_preprocessed"

    @property
    def source(self) -> Path:
        """Task folders of the Decathlon."""
        return self.root / "source"

    def scratch(self, stage: str) -> Path:
        """Where a stage's command puts what it finds."""
        return self.root / "scratch" / stage

    def log(self, stage: str) -> Path:
        return self.root / "logs" / f"{stage}.log"

    def folders(self, results: Path | None = None) -> dict[str, str]:
        """nnU-Net's three, as variables of the environment."""
        return {
            "nnUNet_raw": str(self.root / "nnUNet_raw"),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(results or self.root / "nnUNet_results"),
        }

    def trained(self, seed: int) -> Path:
        """nnU-Net's results of one seed: its folder names know no seeds."""
        return self.root / f"nnUNet_results_seed{seed}"

    def finished(self) -> dict[str, dict]:
        """What each stage has found, by its name."""
        return {path.stem: read_json(path) for path in sorted(self.results.glob("*.json"))}

    def finish(self, stage: str, result: dict) -> None:
        """Writes a result, whole or not at all."""
        self.results.mkdir(parents=True, exist_ok=True)
        write_json(self.results / f"{stage}.json", result)
