import zipfile

import pytest

from nnunet_attention.nnunet.checkpoints import damaged_checkpoints, is_whole, set_aside


@pytest.fixture
def checkpoint(tmp_path):
    """An archive with the parts that torch writes."""
    path = tmp_path / "checkpoint_final.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"pickle")
        archive.writestr("archive/data/0", bytes(range(200)))
    return path


def test_a_checkpoint_is_whole_with_its_table_of_contents(checkpoint):
    assert is_whole(checkpoint)
    assert is_whole(checkpoint, every_byte=True)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-30])
    assert not is_whole(checkpoint)


def test_a_changed_byte_is_found_where_every_byte_is_read(checkpoint):
    content = bytearray(checkpoint.read_bytes())
    content[content.index(bytes(range(100, 110)))] ^= 1
    checkpoint.write_bytes(content)
    assert is_whole(checkpoint)
    assert not is_whole(checkpoint, every_byte=True)


def test_an_archive_of_something_else_and_an_absent_file_are_not_whole(tmp_path):
    path = tmp_path / "other.pth"
    assert not is_whole(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("text", b"")
    assert not is_whole(path)


def test_damaged_checkpoints_of_a_fold_are_listed(checkpoint):
    latest = checkpoint.with_name("checkpoint_latest.pth")
    latest.write_bytes(b"")
    checkpoint.with_name("checkpoint_best.pth.damaged-1").write_bytes(b"")
    assert damaged_checkpoints(checkpoint.parent) == (latest,)


def test_what_is_set_aside_gets_a_name_of_its_own_each_time(tmp_path):
    path = tmp_path / "checkpoint_best.pth"
    for number in (1, 2):
        path.write_text(str(number))
        assert set_aside([path]) == {path: tmp_path / f"checkpoint_best.pth.damaged-{number}"}
    assert [file.read_text() for file in sorted(tmp_path.iterdir())] == ["1", "2"]
