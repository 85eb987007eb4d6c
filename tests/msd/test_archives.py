import hashlib
import io
import os
import tarfile
from dataclasses import replace

import pytest
from msd_archives import NAME, archive_of, entries, write_task
from range_server import range_server

from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.msd.archives import fetch, find_local, unpack
from nnunet_attention.msd.tasks import find_task

HIPPOCAMPUS = find_task("4")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with range_server() as served:
        yield served


@pytest.fixture
def archive(tmp_path) -> bytes:
    return archive_of(write_task(tmp_path / "original"))


def of(content: bytes):
    """The task, as if its archive were this one."""
    return replace(HIPPOCAMPUS, md5=hashlib.md5(content).hexdigest())


def test_fetched_task_is_unpacked_and_its_archive_gone(server, archive, tmp_path):
    server.files[f"{NAME}.tar"] = archive
    folder = fetch(of(archive), tmp_path / "msd", server.url)
    assert folder == tmp_path / "msd" / NAME
    assert entries(folder) == ["dataset.json", "imagesTr", "imagesTs", "labelsTr"]
    assert entries(tmp_path / "msd") == [NAME]
    fetch(of(archive), tmp_path / "msd", server.url)
    assert len(server.asked) == 1, "what is there is not asked for again"


def test_kept_archive_is_unpacked_without_a_server(archive, tmp_path):
    (tmp_path / "msd").mkdir()
    (tmp_path / "msd" / f"{NAME}.tar").write_bytes(archive)
    fetch(of(archive), tmp_path / "msd", "http://127.0.0.1:1", keep_archive=True)
    assert entries(tmp_path / "msd") == [NAME, f"{NAME}.tar"]


def test_leftovers_of_macos_are_not_unpacked(archive, tmp_path):
    task = write_task(tmp_path / "again")
    more = {f"{NAME}/imagesTr/._case_0.nii.gz": b"x", f"{NAME}/.DS_Store": b"x", f"._{NAME}": b"x"}
    (tmp_path / "a.tar").write_bytes(archive_of(task, more))
    folder = unpack(tmp_path / "a.tar", HIPPOCAMPUS, tmp_path / "msd")
    assert entries(folder / "imagesTr") == ["case_0.nii.gz", "case_1.nii.gz", "case_2.nii.gz"]
    assert ".DS_Store" not in entries(folder)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside_of_all"])
def test_archive_that_leads_outside_writes_nothing_there(archive, tmp_path, name):
    task = write_task(tmp_path / "again")
    (tmp_path / "a.tar").write_bytes(archive_of(task, {name: b"x"}))
    if name.startswith("/"):
        unpack(tmp_path / "a.tar", HIPPOCAMPUS, tmp_path / "msd")
    else:
        with pytest.raises(CommandError, match="cannot be unpacked"):
            unpack(tmp_path / "a.tar", HIPPOCAMPUS, tmp_path / "msd")
        assert entries(tmp_path / "msd") == []
    assert not list(tmp_path.rglob("outside"))


def test_archive_with_a_link_out_of_it_is_refused(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo(f"{NAME}/imagesTr")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    with pytest.raises(CommandError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tar", HIPPOCAMPUS, tmp_path / "msd")


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_cut_archive_leaves_nothing(archive, tmp_path, share):
    (tmp_path / "a.tar").write_bytes(archive[: int(len(archive) * share)])
    with pytest.raises(CommandError, match=r"cannot be unpacked|is not complete"):
        unpack(tmp_path / "a.tar", HIPPOCAMPUS, tmp_path / "msd")
    assert entries(tmp_path / "msd") == []


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"<html>sorry</html>" * 100)
    with pytest.raises(CommandError, match=r"a\.tar cannot be unpacked"):
        unpack(tmp_path / "a.tar", HIPPOCAMPUS, tmp_path / "msd")


def test_local_folder_is_used_where_it_is(tmp_path):
    task = write_task(tmp_path / "here")
    assert find_local(HIPPOCAMPUS, tmp_path / "here", tmp_path / "msd") == task
    assert find_local(HIPPOCAMPUS, task, tmp_path / "msd") == task
    assert not (tmp_path / "msd").exists()


def test_task_that_another_process_fetches_is_left_to_it(tmp_path):
    held = Lock(tmp_path / f".{NAME}.lock", "it").held()
    with held, pytest.raises(CommandError, match=f"is in use by process {os.getpid()}"):
        fetch(HIPPOCAMPUS, tmp_path, "http://127.0.0.1:1")


def test_local_archive_is_checked_and_unpacked_elsewhere(archive, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / f"{NAME}.tar").write_bytes(archive)
    folder = find_local(of(archive), tmp_path / "here", tmp_path / "msd")
    assert folder == tmp_path / "msd" / NAME
    assert entries(tmp_path / "here") == [f"{NAME}.tar"]
    with pytest.raises(CommandError, match="its MD5 sum is"):
        find_local(HIPPOCAMPUS, tmp_path / "here", tmp_path / "other")


def test_absent_local_copy_names_what_was_wanted(tmp_path):
    with pytest.raises(CommandError, match=r"neither Task04_Hippocampus/dataset\.json nor"):
        find_local(HIPPOCAMPUS, tmp_path, tmp_path)
    with pytest.raises(CommandError, match="no such folder"):
        find_local(HIPPOCAMPUS, tmp_path / "nowhere", tmp_path)
