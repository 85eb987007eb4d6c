"""`make versions` tests each Python, and of each dependency the bound that the package names."""

import importlib.util
import os
import re
import subprocess

import pytest
from repository import REPOSITORY


def test_lower_bounds_are_pinned_but_for_those_of_tools():
    spec = importlib.util.spec_from_file_location("lowest", REPOSITORY / ".ci" / "lowest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.lowest(
        [
            "nnunetv2<3,>=2.8",
            "numpy>=1.26",
            "unbounded",
            'onnx>=1.17; extra == "engines"',
            'nnunet-attention[engines,slurm]; extra == "test"',
            'pytest>=8; extra == "test"',
            'mkdocs<2,>=1.6; extra == "docs"',
        ]
    ) == ["nnunetv2==2.8", "numpy==1.26", "onnx==1.17"]


@pytest.fixture
def make_versions(tmp_path):
    """Returns a function that runs `make versions` with stand-ins for pythons and tests."""
    folder = tmp_path / "repository"
    (folder / ".venv" / "bin").mkdir(parents=True)
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    quick = (
        'quick:\n\t@echo tested $(PYTHON) in $(VENV) with "$(CONSTRAINTS)"; '
        'test "$(PYTHON)" != "$(FAILING)"'
    )
    makefile, count = re.subn(r"^quick: .*\n\t.*$", lambda _: quick, makefile, flags=re.MULTILINE)
    assert count == 1
    (folder / "Makefile").write_text(makefile)
    for name in ("pyproject.toml", "setup.py", ".venv/.demo"):
        (folder / name).touch()
    there = {tmp_path / "bin" / name: 0 for name in ("python3.11", "python3.12")}
    # As a shim of pyenv, which is there, but has nothing to run.
    there[tmp_path / "bin" / "python3.13"] = 127
    there[folder / ".venv" / "bin" / "python"] = 0
    (tmp_path / "bin").mkdir()
    for path, exit_code in there.items():
        path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
        path.chmod(0o755)

    def run(failing: str, pythons: str = "3.2 3.11 3.12 3.13") -> tuple[int, list[str]]:
        path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
        done = subprocess.run(
            ["make", "-s", "versions", f"PYTHONS={pythons}", f"FAILING={failing}"],
            cwd=folder,
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ("failing", "exit_code", "end"),
    [("", 0, " none"), ("python3.12", 2, " 3.12"), ("python3.11", 2, " 3.11 lowest-versions")],
)
def test_pythons_that_are_missing_are_named_and_do_not_stop_the_others(
    failing, exit_code, end, make_versions
):
    code, lines = make_versions(failing)
    assert code == exit_code
    assert lines == [
        "tested python3.11 in .venv-3.11 with ",
        "tested python3.12 in .venv-3.12 with ",
        "tested python3.11 in .venv-lowest with .venv/lowest.txt",
        f"not here, and not tested: 3.2 3.13; failed:{end}",
    ]


def test_without_any_of_the_pythons_nothing_has_failed(make_versions):
    assert make_versions("", "3.13") == (0, ["not here, and not tested: 3.13; failed: none"])
