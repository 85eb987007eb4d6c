"""Records what was run, with what, where and for how long, in `manifest.json`.

Each process that runs a step writes a file of its own about it, and the manifest gathers these. So
nothing is lost where jobs on several machines end at the same time, or a launcher is killed.
"""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import psutil

import nnunet_attention
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json
from nnunet_attention.jobs.output import Output
from nnunet_attention.jobs.work import Work
from nnunet_attention.versions import versions_of

# They say where and on what a launch ran, whatever it runs.
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID")


class Manifest:
    """The manifest of an output folder."""

    def __init__(self, output: Output, work: Work):
        self._output = output
        self._work = work
        self._head: dict[str, object] = {}
        self._depends_on: dict[str, dict] = {}

    def open(self) -> None:
        """Read what is there and note this launch.

        Raises:
            CommandError: if the folder holds another file of this name, or what the steps depend
                on has changed since some were begun.
        """
        work = self._work
        content = self._present()
        self._depends_on = content.get("depends_on", {})
        work.check_unchanged(self._depends_on)
        launch = {
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            **surroundings(work.packages, work.variables),
        }
        self._head = {
            "made_by": work.made_by,
            "seeds": work.seeds,
            "launches": [*content.get("launches", []), launch],
        }
        try:
            self.write()
        except OSError as error:
            raise CommandError(f"{self._output.manifest} cannot be written: {error}") from error

    def note_dependence(self, group: str) -> None:
        """Record what the steps of a group depend on, as some of them begin now."""
        now = self._work.depends_on()[group]
        self._depends_on[group] = {**now, **self._depends_on.get(group, {})}
        self.write()

    def write(self) -> None:
        """Write the file anew, with all attempts there are.

        Raises:
            OSError: if that is impossible.
        """
        attempts = [read_json(path) for path in sorted(self._output.attempts.glob("*.json"))]
        attempts.sort(key=lambda record: (record["started"], record["step"]))
        content = {**self._head, "depends_on": self._depends_on, "attempts": attempts}
        write_json(self._output.manifest, content)

    def _present(self) -> dict:
        path = self._output.manifest
        if not path.exists():
            return {}
        content = read_json(path)
        if content.get("made_by") != self._work.made_by:
            raise CommandError(f"{path} belongs to something else; choose another folder with -o")
        return content


def surroundings(packages: Sequence[str], variables: Sequence[str]) -> dict:
    """Return versions, git revision, variables and hardware, as far as they can be found out.

    Args:
        packages: names of those whose versions matter.
        variables: the prefixes of names of variables that matter.
    """
    return {
        "versions": versions_of(*packages),
        "git_revision": git_revision(Path(nnunet_attention.__file__).parent),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith((*variables, *_VARIABLES))
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
    """Return a checkout's revision, with "+changes" where files differ; None outside of one."""
    revision = _said(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if not revision:
        return None
    changed = _said(["git", "-C", str(folder), "status", "--porcelain", "--", "."])
    return f"{revision}+changes" if changed else revision


def gpu_names() -> list[str]:
    """Return name and memory of each GPU, as its driver says."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return (_said(query) or "").splitlines()


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
