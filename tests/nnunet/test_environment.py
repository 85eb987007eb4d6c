import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.environment import (
    check_folder_variable,
    folder_from_environment,
    how_misread,
)


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named_with_the_export(monkeypatch, value):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    if value is not None:
        monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(CommandError, match=r"^nnUNet_raw is not set; export nnUNet_raw=/path/to"):
        folder_from_environment("nnUNet_raw")


def test_a_folder_need_not_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "later"))
    assert folder_from_environment("nnUNet_raw") == tmp_path / "later"


@pytest.mark.parametrize(
    ("written", "what", "meant"),
    [
        ('"/data/raw"', "quotation marks", "/data/raw"),
        ("/data/raw ", "a space", "/data/raw"),
        ("~/raw", "~", "/home/me/raw"),
        ("$HOME/raw", "the name of a variable", "/home/me/raw"),
    ],
)
def test_what_a_shell_would_have_read_is_explained(monkeypatch, written, what, meant):
    monkeypatch.setenv("HOME", "/home/me")
    observation, value = how_misread(written)
    assert what in observation
    assert value == meant
    with pytest.raises(CommandError, match=f"set it to {meant}$"):
        check_folder_variable("nnUNet_raw", written)


def test_an_ordinary_path_is_read_as_it_is():
    assert how_misread("/data/raw") is None
