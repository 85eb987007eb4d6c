"""Disks that are full or read-only, as far as this machine lets a test mount some."""

import os
import shutil
import subprocess

import pytest
from fake_nnunet import DATASET, FakeNnunet


@pytest.fixture
def disk(tmp_path):
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def nnunet(tmp_path, disk):
    """Results on the small disk, all else beside it."""
    fake = FakeNnunet(tmp_path / "nnunet")
    fake.prepare()
    fake.folders.results.rmdir()
    (disk / "results").mkdir()
    fake.folders.results.symlink_to(disk / "results")
    return fake


def test_a_disk_that_fills_up_in_training_is_named_and_nothing_is_lost(nnunet, disk):
    ballast = disk / "ballast"
    ballast.write_bytes(b"0" * 1_500_000)
    big = {"FAKE_CHECKPOINT_BYTES": 200_000, "FAKE_EPOCHS": 3}
    code, output = nnunet.run("-f", "0", "-o", nnunet.root / "out", **big)
    assert code == 1
    assert "No space left on device" in output
    assert "the disk of" in output
    assert "make room and start again, finished work is kept" in output
    ballast.unlink()
    code, output = nnunet.run("-f", "0", "-o", nnunet.root / "out", **big)
    assert code == 0, output
    for lines in nnunet.journals().values():
        assert lines.count("trained") == 1
        assert lines[-1] == "validated"


def test_a_full_disk_is_one_clear_error_at_the_start(nnunet, disk):
    with pytest.raises(OSError, match="No space"):
        (disk / "ballast").write_bytes(b"0" * 3_000_000)
    code, output = nnunet.run("-f", "0", "-o", nnunet.root / "out")
    assert code == 1
    assert "the disk is full; make room and start again" in output
    assert "Traceback" not in output


def test_a_read_only_results_folder_is_one_clear_error(nnunet, disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, output = nnunet.run("-f", "0", "-o", nnunet.root / "out")
    assert code == 1
    assert f"cannot write in {nnunet.folders.results}: the file system is read-only" in output
    assert "Traceback" not in output
    assert os.listdir(disk / "results") == []


@pytest.fixture
def prepared_on_disk(tmp_path, disk):
    """Prepared data on the small disk, all else beside it."""
    fake = FakeNnunet(tmp_path / "nnunet")
    fake.folders.preprocessed.rmdir()
    (disk / "preprocessed").mkdir()
    fake.folders.preprocessed.symlink_to(disk / "preprocessed")
    fake.prepare()
    return fake


def test_read_only_prepared_data_are_enough_for_folds(prepared_on_disk, disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, output = prepared_on_disk.run("-f", "0", FAKE_SECONDS=0)
    assert code == 0, output
    assert {lines[-1] for lines in prepared_on_disk.journals().values()} == {"validated"}


def test_read_only_prepared_data_that_lack_something_are_one_clear_error(prepared_on_disk, disk):
    prepared_on_disk.folders.splits(DATASET).unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, output = prepared_on_disk.run("-f", "0")
    assert code == 1
    place = prepared_on_disk.folders.dataset(DATASET)
    assert f"cannot write in {place}: the file system is read-only" in output
    assert "Traceback" not in output
