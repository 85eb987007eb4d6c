"""Imports go down only, and what reads files loads neither torch nor nnU-Net."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# Imports all modules of a package, or the module itself, and prints what must not be loaded.
IMPORT_ALL = """
import importlib, pkgutil, sys
module = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
    importlib.import_module(found.name)
print(*sorted({"torch", "nnunetv2"} & set(sys.modules)))
"""
LIGHT = (
    *("drawing", "errors", "files", "pace", "pages", "versions", "whole_files"),
    *("crossval", "evaluation", "jobs", "msd", "nnunet"),
)


@pytest.fixture
def installed(tmp_path) -> Path:
    """The package as a wheel holds it, with `trainers` and `plans` in it."""
    ignore = shutil.ignore_patterns("__pycache__")
    package = tmp_path / "nnunet_attention"
    shutil.copytree(REPOSITORY / "nnunet_attention", package, ignore=ignore)
    for name in ("trainers", "plans"):
        shutil.copytree(REPOSITORY / name, package / name, ignore=ignore)
    return tmp_path


def test_imports_go_down_only(installed):
    program = "import sys; from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run(
        [
            *(sys.executable, "-c", program),
            *("--config", REPOSITORY / "pyproject.toml", "--no-cache", "--verbose"),
        ],
        cwd=installed,
        # Before the installed package, which is imported when Python starts.
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("name", LIGHT)
def test_what_reads_files_loads_neither_torch_nor_nnunet(name):
    program = [sys.executable, "-c", IMPORT_ALL, f"nnunet_attention.{name}"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
