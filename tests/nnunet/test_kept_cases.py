"""Predictions are kept if they are whole and of the checkpoint that validates."""

import gzip
import os
import random
import subprocess
import sys

import pytest

from nnunet_attention.nnunet.kept_cases import VARIABLE, kept_cases, whole_predictions

CONTENT = gzip.compress(random.Random(0).randbytes(5000), mtime=0)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of time 100, and three predictions of time 200."""
    write(tmp_path / "checkpoint_final.pth", b"weights", 100)
    (tmp_path / "validation").mkdir()
    for case in "abc":
        write(tmp_path / "validation" / f"{case}.nii.gz", CONTENT, 200)
    return tmp_path


def write(path, content: bytes, seconds: int) -> None:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))


def kept(folder, ending=".nii.gz", npz=False) -> list[str]:
    checkpoint = folder / "checkpoint_final.pth"
    return whole_predictions(folder / "validation", checkpoint, ("a", "b", "c", "d"), ending, npz)


def test_predictions_that_are_there_are_kept(folder):
    assert kept(folder) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "content",
    [b"", CONTENT[:-1], CONTENT[:2000], b"rubbish", CONTENT[:3000] + CONTENT[3001:]],
    ids=["empty", "a byte short", "half", "rubbish", "a byte missing within"],
)
def test_half_and_damaged_predictions_are_not_kept(folder, content):
    write(folder / "validation" / "b.nii.gz", content, 200)
    assert kept(folder) == ["a", "c"]


def test_predictions_from_before_the_checkpoint_are_not_kept(folder):
    for seconds in (50, 100):
        os.utime(folder / "validation" / "b.nii.gz", (seconds, seconds))
        assert kept(folder) == ["a", "c"]


def test_with_probabilities_these_must_be_written_before_the_segmentation(folder):
    validation = folder / "validation"
    for case, seconds in (("a", 199), ("b", 300)):
        write(validation / f"{case}.npz", b"any", seconds)
        write(validation / f"{case}.pkl", b"any", seconds)
    assert kept(folder, npz=True) == ["a"]


def test_formats_that_do_not_tell_their_end_are_not_kept(folder):
    write(folder / "validation" / "a.png", b"any", 200)
    assert kept(folder, ".png") == []


def test_without_a_checkpoint_nothing_is_kept(folder):
    (folder / "checkpoint_final.pth").unlink()
    assert kept(folder) == []


def test_the_names_go_through_the_environment(monkeypatch):
    assert kept_cases() == frozenset()
    monkeypatch.setenv(VARIABLE, '["a b", "c"]')
    assert kept_cases() == {"a b", "c"}


def test_neither_torch_nor_nnunetv2_is_loaded():
    code = (
        "import sys, nnunet_attention.nnunet.kept_cases as k; "
        "assert not {'torch', 'nnunetv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
