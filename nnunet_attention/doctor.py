"""Checks whether nnU-Net finds our trainers here, and whether it can work at all."""

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from nnunet_attention import __version__, doorway
from nnunet_attention.nnunet.environment import PREPROCESSED, RAW, RESULTS, how_misread

_TRAINER = "AttentionUNetTrainer"
# Runs nnU-Net's own resolver as its commands do. The last line of its output is for us.
_PROBE = f"""
import json, os, torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
memories = [torch.cuda.get_device_properties(i).total_memory for i in range(len(devices))]
if torch.backends.mps.is_available():
    devices.append("Apple MPS")
report = {{"devices": devices, "threads": os.cpu_count(), "trainer": None, "error": None}}
report |= {{"memories_byte": memories, "cuda": torch.version.cuda or torch.version.hip}}
try:
    found = recursive_find_trainer_class_by_name({_TRAINER!r})
    report["trainer"] = found.__module__ + "." + found.__qualname__
except Exception as error:
    report["error"] = f"{{type(error).__name__}}: {{error}}"
print(json.dumps(report))
"""
FOLDERS = {RAW: False, PREPROCESSED: True, RESULTS: True}
"""Whether nnU-Net must be able to write; it only reads from nnUNet_raw when it plans and trains."""


@dataclass(frozen=True)
class Finding:
    """Holds one row of the examination; `remedy` is None where nothing is wrong."""

    subject: str
    observation: str
    remedy: str | None = None


def examine() -> list[Finding]:
    """Examine the running interpreter and its environment variables; change nothing."""
    return [
        Finding("python", f"{platform.python_version()} ({sys.executable})"),
        Finding("nnunet-attention", f"{__version__} ({Path(doorway.directory()).parent})"),
        examine_package("nnunetv2"),
        examine_package("torch"),
        *examine_discovery(os.environ),
        *(
            examine_folder(variable, os.environ.get(variable), must_be_writable)
            for variable, must_be_writable in FOLDERS.items()
        ),
    ]


def examine_package(name: str) -> Finding:
    """Tell whether an installed package has a version that we and nnU-Net accept."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", f"pip install {name}")
    for wanted_by in ("nnunet-attention", "nnunetv2"):
        for requirement in _requirements_of(wanted_by):
            if requirement.name == name and not requirement.specifier.contains(
                Version(version), prereleases=True
            ):
                return Finding(
                    name,
                    f"{version}, but {wanted_by} wants {requirement.specifier}",
                    f'pip install "{name}{requirement.specifier}"',
                )
    return Finding(name, version)


def _requirements_of(distribution: str) -> list[Requirement]:
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    requirements = [Requirement(line) for line in lines]
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def examine_discovery(environment: Mapping[str, str]) -> list[Finding]:
    """Check in a new Python process which device there is, and that nnU-Net finds the trainer.

    The first attempt leaves our directory out of the search path, so that only the start-up file
    can make it succeed; the second takes the variable as it is, which is the manual route.
    """
    route, report = probe_discovery(environment)
    if route is not None:
        finding = Finding("discovery", f"nnU-Net finds {report['trainer']} ({route})")
    else:
        remedy = _discovery_remedy(environment, report)
        finding = Finding("discovery", _last_line(report["error"]), remedy)
    return [finding, _device_finding(report)]


def probe_discovery(environment: Mapping[str, str]) -> tuple[str | None, dict]:
    """Try the routes as `examine_discovery` does.

    Returns:
        The route by which nnU-Net finds the trainer, or None; and the last process's report:
        `trainer`, `error`, `devices` (None if torch could not be asked), `threads`, and, where
        torch could be asked, `memories_byte` of the devices and the version `cuda`.
    """
    routes = [("at start-up, nothing to export", _without_doorway(environment))]
    if doorway.directory() in environment.get(doorway.SEARCH_PATH_VARIABLE, ""):
        routes.append((f"through the exported {doorway.SEARCH_PATH_VARIABLE}", dict(environment)))
    report: dict = {}
    for route, variables in routes:
        report = _probe(variables)
        if report["trainer"]:
            return route, report
    return None, report


def _without_doorway(environment: Mapping[str, str]) -> dict[str, str]:
    variables = dict(environment)
    paths = variables.pop(doorway.SEARCH_PATH_VARIABLE, "").split(os.pathsep)
    rest = [path for path in paths if path and path != doorway.directory()]
    if rest:
        variables[doorway.SEARCH_PATH_VARIABLE] = os.pathsep.join(rest)
    return variables


def _probe(variables: Mapping[str, str]) -> dict:
    # In an empty directory: `-c` puts the current one on sys.path, the installed commands do not.
    with tempfile.TemporaryDirectory() as empty:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=dict(variables),
            cwd=empty,
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return json.loads(child.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        problem = _last_line(child.stderr) or f"Python ended with exit code {child.returncode}"
        return {"devices": None, "threads": os.cpu_count(), "trainer": None, "error": problem}


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else ""


def _discovery_remedy(environment: Mapping[str, str], report: Mapping) -> str:
    manual = f'export {doorway.SEARCH_PATH_VARIABLE}="$(nnunet-attention where)"'
    others = _without_doorway(environment).get(doorway.SEARCH_PATH_VARIABLE)
    if report["devices"] is None:
        return "install nnunetv2 and nnunet-attention again, with pip's --force-reinstall"
    if doorway.is_switched_off():
        return f"unset {doorway.OPT_OUT_VARIABLE}, or {manual}"
    if others:
        return f"nnU-Net imports every file in {others} too: move broken ones out, or {manual}"
    return f"install nnunet-attention again, with pip's --force-reinstall --no-deps, or {manual}"


def _device_finding(report: Mapping) -> Finding:
    if report["devices"]:
        return Finding("device", ", ".join(report["devices"]))
    return Finding("device", f"CPU only ({report['threads']} threads); train with -device cpu")


def examine_folder(variable: str, value: str | None, must_be_writable: bool) -> Finding:
    """Tell whether one of nnU-Net's folders is set, exists and can be written to."""
    if not value:
        return Finding(variable, "not set", f"export {variable}=/path/to/{variable}")
    folder = Path(value)
    if not folder.is_dir():
        misread = how_misread(value)
        if misread is not None:
            what, meant = misread
            return Finding(
                variable, f"the value {value} {what}", f"export {variable}={shlex.quote(meant)}"
            )
        return Finding(variable, f"{folder} is not a folder", f'mkdir -p "{folder}"')
    try:
        # os.access is unreliable on network file systems: only writing a file tells.
        with tempfile.TemporaryFile(dir=folder):
            return Finding(variable, f"{folder} (writable)")
    except OSError as error:
        if not must_be_writable:
            return Finding(variable, f"{folder} (read-only: enough for planning and training)")
        return Finding(
            variable,
            f"{folder} is not writable: {error.strerror}",
            f"get permission to write there, or export {variable}=/another/folder",
        )
