"""What was run, with what, where and for how long: `manifest.json`.

Whoever runs a step writes a file of its own about it; the manifest gathers them. So nothing is
lost where jobs on several machines end at the same time, or a launcher is killed.
"""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import psutil

import nnunet_attention
from nnunet_attention.crossval.runs import CrossvalPlan, plans_in_use
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json
from nnunet_attention.jobs.output import Output
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.plans import differences
from nnunet_attention.versions import versions_of

_MADE_BY = "nnunet-attention crossval"
_PACKAGES = (
    "nnunetv2",
    "torch",
    "dynamic-network-architectures",
    "batchgenerators",
    "batchgeneratorsv2",
    "numpy",
    "submitit",
)
_VARIABLES = ("nnUNet_", "NNUNET_", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID")
# nnU-Net's own, of splits_final.json; it seeds nothing else.
_SEEDS = {
    "splits_final.json": "12345, where nnU-Net's own split is used",
    "training": "not seeded by nnU-Net",
}


class Manifest:
    """The manifest of an output folder."""

    def __init__(self, output: Output, plan: CrossvalPlan, folders: Folders):
        self._output = output
        self._plan = plan
        self._folders = folders
        self._content: dict = {}

    def open(self) -> None:
        """Reads what is there and notes this launch.

        Raises:
            CommandError: if the folder holds another file of this name, or plans or splits have
                changed since folds were begun.
        """
        content = _present(self._output.manifest)
        self._refuse_changes(content.get("depends_on", {}))
        launch = {
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            **surroundings(),
        }
        self._content = {
            "made_by": _MADE_BY,
            "seeds": _SEEDS,
            "depends_on": content.get("depends_on", {}),
            "launches": [*content.get("launches", []), launch],
        }
        try:
            self.write()
        except OSError as error:
            raise CommandError(f"{self._output.manifest} cannot be written: {error}") from error

    def note_dependence(self, dataset: str) -> None:
        """Keeps the plans and splits of a data set whose folds begin now."""
        now = plans_in_use(self._plan, self._folders)[dataset]
        kept = self._content["depends_on"].get(dataset, {})
        self._content["depends_on"][dataset] = {**now, **kept}
        self.write()

    def write(self) -> None:
        """Writes the file anew, with all attempts there are.

        Raises:
            OSError: if that is impossible.
        """
        attempts = [read_json(path) for path in sorted(self._output.attempts.glob("*.json"))]
        attempts.sort(key=lambda one: (one["started"], one["step"]))
        write_json(self._output.manifest, {**self._content, "attempts": attempts})

    def _refuse_changes(self, before: Mapping) -> None:
        now = plans_in_use(self._plan, self._folders)
        for dataset in before.keys() & now.keys():
            both = before[dataset].keys() & now[dataset].keys()
            changed = [
                f"{name}: {difference}"
                for name in sorted(both)
                for difference in differences(before[dataset][name], now[dataset][name])
            ]
            if changed:
                raise CommandError(
                    f"plans or splits of {dataset} have changed since its folds were begun: "
                    f"{'; '.join(changed)}. Put the old ones back, or begin anew with other names "
                    "of plans and another folder (-o)"
                )


def surroundings() -> dict:
    """Versions, git revision, variables and hardware, as far as they can be found out."""
    return {
        "versions": versions_of(*_PACKAGES),
        "git_revision": git_revision(Path(nnunet_attention.__file__).parent),
        "variables": {
            name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)
        },
        "hardware": {
            "machine": platform.machine(),
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "gpus": gpu_names(),
        },
    }


def git_revision(folder: Path) -> str | None:
    """Of a checkout, with "+changes" where files differ from it; None outside of one."""
    revision = _said(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if not revision:
        return None
    changed = _said(["git", "-C", str(folder), "status", "--porcelain", "--", "."])
    return f"{revision}+changes" if changed else revision


def gpu_names() -> list[str]:
    """Name and memory of each GPU, as its driver says."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return (_said(query) or "").splitlines()


def _present(path: Path) -> dict:
    if not path.exists():
        return {}
    content = read_json(path)
    if content.get("made_by") != _MADE_BY:
        raise CommandError(f"{path} is of something else; choose another folder with -o")
    return content


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _said(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
