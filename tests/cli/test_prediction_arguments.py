"""What commands that predict are given is read, or refused in words."""

import argparse

import pytest

from nnunet_attention.cli.prediction_arguments import _processes, add_sliding_window


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("0", 0), ("", 3), ("many", 3), ("²", 3)])
def test_nnunets_variable_is_passed_over_where_it_is_no_number(monkeypatch, text, number):
    monkeypatch.setenv("nnUNet_npp", text)
    assert _processes(None, "npp", 3) == number
    assert _processes(2, "npp", 3) == 2


@pytest.mark.parametrize("text", ["half", "0", "1.5", "nan"])
def test_a_step_that_is_no_share_is_refused_in_words(text, capsys):
    parser = argparse.ArgumentParser()
    add_sliding_window(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["-step_size", text])
    assert f"{text} is not a number above 0 and at most 1" in capsys.readouterr().err
