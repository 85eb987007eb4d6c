import os

import pytest
from msd_archives import entries, write_task

from nnunet_attention.errors import CommandError
from nnunet_attention.msd.conversion import convert


@pytest.mark.parametrize("with_test_folder", [True, False])
def test_nnunet_converts_a_task_with_or_without_test_images(tmp_path, with_test_folder):
    task = write_task(tmp_path / "here", with_test_folder=with_test_folder)
    raw = tmp_path / "raw"
    raw.mkdir()
    name = convert(task, raw, os.environ, tmp_path / "log.txt", processes=1)
    assert name == "Dataset004_Hippocampus"
    assert entries(raw) == [name]
    assert entries(raw / name / "imagesTr") == [f"case_{i}_0000.nii.gz" for i in range(3)]
    before = (raw / name / "dataset.json").stat().st_mtime_ns
    convert(task, raw, {}, tmp_path / "log.txt")
    assert (raw / name / "dataset.json").stat().st_mtime_ns == before
    assert not (task / "imagesTs").exists() or with_test_folder


@pytest.mark.parametrize(
    ("variable", "taken"),
    [
        ("nnUNet_raw", "Dataset004_Other"),
        ("nnUNet_raw", "Dataset004_Hippocampus"),
        ("nnUNet_preprocessed", "Dataset004_Other"),
        ("nnUNet_results", "Dataset004_Other"),
    ],
)
def test_taken_number_is_named_and_nothing_touched(tmp_path, variable, taken):
    task = write_task(tmp_path / "here")
    folders = {name: str(tmp_path / name) for name in ("nnUNet_raw", variable)}
    (tmp_path / "nnUNet_raw").mkdir()
    (tmp_path / variable / taken).mkdir(parents=True)
    with pytest.raises(CommandError, match=f"number 4 is taken by .*{taken}"):
        convert(task, tmp_path / "nnUNet_raw", folders, tmp_path / "log.txt")


def test_failed_conversion_leaves_no_half_data_set(tmp_path):
    task = write_task(tmp_path / "here")
    (task / "imagesTr" / "case_1.nii.gz").write_bytes(b"no image")
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(CommandError, match="nnUNetv2_convert_MSD_dataset failed"):
        convert(task, raw, os.environ, tmp_path / "log.txt", processes=1)
    assert entries(raw) == []
