"""A user's mypy knows what the names are that this package imports on first use."""

import importlib
from pathlib import Path

import pytest
from mypy import api

import nnunet_attention

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]
RIGHT = """
from torch import nn
from nnunet_attention import AttentionGate

gate = AttentionGate(nn.Conv3d, skip_channels=4, gating_channels=8, stride=(1, 2, 2))
print(gate.inter_channels + 1)
"""
WRONG = """
from nnunet_attention import AttentionGate

AttentionGate("nonsense", 3.5)
"""


@pytest.fixture
def checked(tmp_path, monkeypatch, pytestconfig):
    """Returns a function that gives mypy's output about a program."""
    # The finder of an editable install is not for mypy, which looks into folders.
    monkeypatch.setenv("MYPYPATH", str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    # What it knows of torch takes a minute to find out.
    cache = pytestconfig.cache.mkdir("mypy")

    def check(text: str) -> str:
        Path("program.py").write_text(text)
        options = ["--config-file=", "--cache-dir", str(cache)]
        # Nothing is said about our own modules and what they import.
        output, errors, _ = api.run([*options, "--follow-imports", "silent", "program.py"])
        assert not errors
        return output

    return check


def test_right_arguments_are_accepted(checked):
    assert "Success: no issues found" in checked(RIGHT)


def test_wrong_arguments_are_errors(checked):
    output = checked(WRONG)
    assert "program.py:4: error" in output
    assert "[arg-type]" in output


def test_every_lazy_name_is_what_type_checkers_are_told():
    source = Path(nnunet_attention.__file__).read_text()
    for name, module in nnunet_attention._HOME_OF.items():
        assert f"from {module} import " in source
        assert getattr(nnunet_attention, name) is getattr(importlib.import_module(module), name)
        assert name in nnunet_attention.__all__
