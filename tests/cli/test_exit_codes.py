"""What ends a command becomes one line and an exit code, in the package and in benchmarks."""

import errno
from pathlib import Path

import pytest

from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.errors import CommandError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def raising(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_what_a_command_returns_is_its_exit_code(returned, code, capsys):
    assert exit_code_of("tool", lambda: returned) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CommandError("-d 4: no such data set"), 1, "tool: -d 4: no such data set\n"),
        (KeyboardInterrupt(), 130, "tool: interrupted\n"),
    ],
)
def test_an_error_that_a_user_can_mend_is_one_line(error, code, line, capsys):
    assert exit_code_of("tool", raising(error)) == code
    assert capsys.readouterr() == ("", line)


def test_a_folder_that_cannot_be_written_is_named(capsys):
    error = PermissionError(errno.EACCES, "Permission denied", "/out/table.md")
    assert exit_code_of("tool", raising(error)) == 1
    told = capsys.readouterr().err
    assert told.startswith("tool: /out/table.md: ")
    assert told.count("\n") == 1


def test_an_error_that_may_be_a_bug_keeps_its_traceback():
    for number in (errno.ENOTTY, errno.EPERM):
        with pytest.raises(OSError, match="odd"):
            exit_code_of("tool", raising(OSError(number, "odd")))


@pytest.mark.parametrize(
    "path",
    sorted(path for path in BENCHMARKS.rglob("*.py") if '__main__":' in path.read_text()),
    ids=lambda path: path.relative_to(BENCHMARKS).as_posix(),
)
def test_every_benchmark_ends_so_under_its_own_name(path):
    module = ".".join(path.relative_to(BENCHMARKS.parent).with_suffix("").parts)
    name = module.removesuffix(".__main__")
    last = path.read_text().splitlines()[-1]
    assert last.startswith(f'    sys.exit(exit_code_of("python -m {name}", ')
