"""Registration of the trainers with nnU-Net at start-up."""

import os
import subprocess
import sys

import pytest

from nnunet_attention import doorway


def test_directory_holds_one_module_beside_its_init():
    files = {name for name in os.listdir(doorway.directory()) if name.endswith(".py")}
    assert files == {"__init__.py", "nnunet_attention_trainers.py"}


def test_an_empty_search_path_becomes_the_doorway(monkeypatch):
    monkeypatch.delenv(doorway.SEARCH_PATH_VARIABLE, raising=False)
    assert not doorway.is_registered()
    doorway.register_at_startup()
    assert os.environ[doorway.SEARCH_PATH_VARIABLE] == doorway.directory()
    assert doorway.is_registered()


def test_a_users_directories_stay_first(monkeypatch):
    monkeypatch.setenv(doorway.SEARCH_PATH_VARIABLE, os.pathsep.join(["/mine", "/yours"]))
    doorway.register_at_startup()
    expected = ["/mine", "/yours", doorway.directory()]
    assert os.environ[doorway.SEARCH_PATH_VARIABLE].split(os.pathsep) == expected


def test_registering_twice_adds_the_doorway_once(monkeypatch):
    monkeypatch.delenv(doorway.SEARCH_PATH_VARIABLE, raising=False)
    doorway.register_at_startup()
    doorway.register_at_startup()
    assert os.environ[doorway.SEARCH_PATH_VARIABLE] == doorway.directory()


@pytest.mark.parametrize("value", ["0", "false", " NO ", "off"])
def test_opting_out_leaves_the_search_path_alone(monkeypatch, value):
    monkeypatch.delenv(doorway.SEARCH_PATH_VARIABLE, raising=False)
    monkeypatch.setenv(doorway.OPT_OUT_VARIABLE, value)
    doorway.register_at_startup()
    assert doorway.SEARCH_PATH_VARIABLE not in os.environ


@pytest.mark.parametrize("value", ["1", "", "yes"])
def test_other_values_of_the_opt_out_variable_register(monkeypatch, value):
    monkeypatch.delenv(doorway.SEARCH_PATH_VARIABLE, raising=False)
    monkeypatch.setenv(doorway.OPT_OUT_VARIABLE, value)
    doorway.register_at_startup()
    assert doorway.is_registered()


@pytest.mark.parametrize(
    "statement",
    [
        "import nnunet_attention",
        "import nnunet_attention.doorway",
        "from nnunet_attention.cli.main import build_parser; build_parser()",
    ],
)
def test_light_imports_load_neither_torch_nor_nnunetv2_nor_numpy(statement):
    program = (
        f"import sys; {statement}; "
        "print(sorted({'torch', 'nnunetv2', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
