"""Installs a pack, without a network and before anything else is installed."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.parts import check_parts, extract, read_manifest
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_names import is_dataset_name

WHEELS, DATA = "wheels", "data"


def add_install_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `install`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="that `pack` wrote")
    parser.add_argument(
        *("-w", "--work"), type=Path, default=Path("gpu"), metavar="WORK",
        help="gets the data, for `run` (default: gpu)",
    )  # fmt: skip
    parser.add_argument(
        "pip_options", nargs="*", metavar="PIP_OPTION",
        help="of `pip install`, after --, such as: -- --user",
    )  # fmt: skip


def install(folder: Path, work: Path, pip_options: list[str]) -> int:
    """Check all parts, install the wheels into this Python and put the data into `work`.

    Raises:
        CommandError: if the pack is damaged or made for another Python, or pip fails.
    """
    manifest = read_manifest(folder)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if manifest["python"] != here:
        raise CommandError(
            f"{folder}: was packed for Python {manifest['python']}, this is {here}; pack again "
            f"with --python {here}"
        )
    check_parts(folder, manifest)
    work.mkdir(parents=True, exist_ok=True)
    # Within `work`, so that the data need only be renamed.
    with tempfile.TemporaryDirectory(dir=work, prefix=".install-") as scratch:
        extract(folder, manifest, Path(scratch))
        wheels = sorted(map(str, Path(scratch, WHEELS).glob("*.whl")))
        command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"]
        if subprocess.run([*command, *pip_options, *wheels], check=False).returncode:
            raise CommandError(f"{folder}: pip could not install its wheels; it says why above")
        for path in sorted(Path(scratch, DATA).glob("*")):
            _place(path, work)
    _look_back(work)
    return 0


def _place(path: Path, work: Path) -> None:
    kind = "nnUNet_preprocessed" if is_dataset_name(path.name) else "source"
    target = work / kind / path.name
    if target.exists():
        print(f"{target} exists already and is left as it is")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    print(f"{target}: installed")


def _look_back(work: Path) -> None:
    """Print what is still missing: packages that were expected when packing may be absent."""
    # Not in the repository, where builds leave metadata of packages that are not installed.
    command = [sys.executable, "-c", _MISSING]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(
            f"installed, but the installation cannot be checked: {done.stderr.strip()[-500:]}"
        )
    missing = json.loads(done.stdout)
    if missing:
        raise CommandError(
            f"installed, but these are still missing here: {', '.join(missing)}; pack again with "
            "--have and what `python -m pip freeze` prints here"
        )


# Checks our requirements and theirs, in a process of its own, which sees what was just installed.
_MISSING = """
import json
from importlib.metadata import PackageNotFoundError, requires, version
try:
    from packaging.requirements import Requirement
    from packaging.version import Version
except ImportError:
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.version import Version
missing, seen, waiting = [], set(), ["nnunet-attention"]
while waiting:
    name = waiting.pop()
    for text in requires(name) or []:
        one = Requirement(text)
        if one.marker and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(one.name)
        except PackageNotFoundError:
            missing.append(str(one))
            continue
        if not one.specifier.contains(Version(there), prereleases=True):
            missing.append(f"{one} (there is {there})")
        if one.name.lower() not in seen:
            seen.add(one.name.lower())
            waiting.append(one.name)
print(json.dumps(sorted(set(missing))))
"""
