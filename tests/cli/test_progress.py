"""How far a command is, is told on stderr: by a bar, or by lines."""

import pytest

from nnunet_attention.cli import progress


@pytest.fixture
def every_line(monkeypatch):
    monkeypatch.setattr("nnunet_attention.pace.Pace.is_due", lambda pace: True)


@pytest.mark.parametrize(
    ("bar", "line"),
    [
        (progress.progress_bar, "evaluating: case 7 of 52"),
        (progress.download_bar, "evaluating: 7 of 52 MB"),
    ],
)
def test_without_a_terminal_lines_tell_how_far_it_is(every_line, capsys, bar, line):
    factor = 1 if bar is progress.progress_bar else 1_000_000
    with bar("evaluating") as on_progress:
        on_progress(7 * factor, 52 * factor)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.split(" ", 1)[1] == f"{line}\n"


def test_without_a_terminal_what_is_soon_over_says_nothing(capsys):
    with progress.progress_bar("evaluating") as on_progress:
        for done in range(5):
            on_progress(done, 5)
    assert capsys.readouterr().err == ""
