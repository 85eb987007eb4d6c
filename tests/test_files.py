"""Files are written whole or not at all."""

import errno
import json
import os
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from nnunet_attention.cli import main
from nnunet_attention.errors import CommandError
from nnunet_attention.files import (
    folder_written_beside,
    link,
    read_json,
    require_writable,
    require_writable_file,
    write_json,
    write_text,
    written_beside,
)


def test_json_that_is_nested_too_deeply_is_named(tmp_path):
    path = tmp_path / "plans.json"
    path.write_text('{"a":' * 100_000)
    with pytest.raises(CommandError, match=r"plans\.json cannot be read.*nested too deeply"):
        read_json(path)


def test_json_is_sorted_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    with suppress(RuntimeError), written_beside(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "numbers.json"
    write_json(path, {"b": 1, "a": 2})
    assert list(json.loads(path.read_text())) == ["a", "b"]
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 2, "b": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["numbers.json"]


@contextmanager
def disk_that_says(monkeypatch, number):
    """Nothing can be written, removed or renamed."""

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number), "the file")

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "write_text", "unlink", "mkdir", "rmdir"):
            patch.setattr(f"pathlib.Path.{name}", refuse)
        patch.setattr("os.replace", refuse)
        yield


def test_an_error_is_not_hidden_by_a_second_one_in_the_clearing_up(tmp_path, monkeypatch):
    with (
        disk_that_says(monkeypatch, errno.EROFS),
        pytest.raises(RuntimeError, match="the first"),
        written_beside(tmp_path / "a.txt"),
    ):
        raise RuntimeError("the first")


def test_below_a_file_the_error_is_that_of_the_writing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as error:
        write_text(tmp_path / "file" / "a.txt", "text")
    assert error.value.__context__ is None


def test_two_writers_of_a_file_do_not_share_what_they_write_beside_it(tmp_path):
    with (
        written_beside(tmp_path / "a.txt") as one,
        written_beside(tmp_path / "a.txt") as other,
    ):
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a.txt").read_text() == "one"


def test_trying_a_folder_out_leaves_nothing_there(tmp_path):
    require_writable(tmp_path / "new" / "deep")
    require_writable_file(tmp_path / "other" / "a.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("times", "is_tried_out"), [(1, True), (99, False)])
def test_a_folder_that_another_command_takes_away_is_tried_out_again(
    tmp_path, monkeypatch, times, is_tried_out
):
    taken, write_bytes = [], Path.write_bytes

    def write_after_it_went(path, data):
        if len(taken) < times:
            path.parent.rmdir()
            taken.append(path.parent)
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_after_it_went)
    with nullcontext() if is_tried_out else pytest.raises(CommandError, match="cannot write in"):
        require_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    assert set(taken) == {tmp_path / "new"}


def test_what_cannot_be_a_folder_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"^-o: cannot write in .*file: there is a file of this"):
        require_writable(tmp_path / "file", "-o")
    with pytest.raises(CommandError, match=r"x: part of the path is a file; choose another"):
        require_writable(tmp_path / "file" / "x")
    with pytest.raises(CommandError, match=r"-o .*: there is a folder of this name"):
        require_writable_file(tmp_path, "-o")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "the file system is read-only"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the quota is used up"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_before_the_work(tmp_path, monkeypatch, number, words):
    with (
        disk_that_says(monkeypatch, number),
        pytest.raises(CommandError, match=rf"cannot write in .*new: {words}"),
    ):
        require_writable(tmp_path / "new")


def test_an_error_of_the_disk_amid_a_command_is_one_line(tmp_path, monkeypatch, capsys):
    def fill_up(arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "/disk/file")

    monkeypatch.setattr("nnunet_attention.cli.where.run", fill_up)
    assert main(["where"]) == 1
    assert capsys.readouterr().err == (
        "nnunet-attention where: /disk/file: the disk is full; make room and start again, "
        "finished work is kept\n"
    )


def test_other_errors_of_the_system_are_not_taken_for_the_disks(monkeypatch):
    def break_pipe(arguments):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("nnunet_attention.cli.where.run", break_pipe)
    with pytest.raises(BrokenPipeError):
        main(["where"])


def test_a_folder_appears_whole_and_replaces_what_was_there(tmp_path):
    target = tmp_path / "target"
    for content in ("first", "second"):
        with folder_written_beside(target, replace=True) as beside:
            (beside / content).write_text(content)
            assert not (target / content).exists()
        assert [path.name for path in target.iterdir()] == [content]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_appears_where_a_link_leads_and_the_link_stays(tmp_path):
    target, link = tmp_path / "on another disk", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    for content, replace in (("first", False), ("second", True)):
        with folder_written_beside(link, replace) as beside:
            (beside / content).write_text(content)
        assert [path.name for path in target.iterdir()] == [content]
        assert sorted(tmp_path.iterdir()) == [link, target]
        assert link.is_symlink()


def test_a_folder_that_fails_leaves_what_was_there(tmp_path):
    target = tmp_path / "target"
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            _fail_in(target)
        assert not target.exists() or [path.name for path in target.iterdir()] == ["kept"]
        assert [path for path in tmp_path.iterdir() if path != target] == []
        target.mkdir(exist_ok=True)
        (target / "kept").touch()


def _fail_in(target):
    with folder_written_beside(target, replace=True) as beside:
        (beside / "half").touch()
        raise OSError("full")


def test_a_folder_that_was_filled_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(OSError, match="not empty"):
        _fill_meanwhile(target)
    assert [path.name for path in target.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [target]


def _fill_meanwhile(target):
    with folder_written_beside(target):
        (target / "kept").touch()


def test_a_link_leads_to_its_target(tmp_path):
    (tmp_path / "target").mkdir()
    link(tmp_path / "link", Path("target"), to_folder=True)
    assert (tmp_path / "link").readlink() == Path("target")
    assert (tmp_path / "link").is_dir()


def no_privilege(*_, **__):
    # What Windows says to who may not make links, error 1314.
    raise OSError(errno.EINVAL, "A required privilege is not held by the client")


@pytest.mark.parametrize(
    ("system", "end"),
    [("linux", "client"), ("win32", "client; on Windows, switch on Developer Mode")],
)
def test_a_system_that_makes_no_links_is_one_clear_error(tmp_path, monkeypatch, system, end):
    monkeypatch.setattr(os, "symlink", no_privilege)
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(CommandError) as raised:
        link(tmp_path / "link", Path("target"))
    assert str(raised.value) == (
        f"{tmp_path / 'link'} cannot be made as a symbolic link to target: "
        f"A required privilege is not held by the {end}"
    )
