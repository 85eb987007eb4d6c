"""The benchmark trainers on a GPU: five epochs of nnU-Net's length, timed, and nothing saved."""

import json

import pytest
from devices import needs_gpu
from nnunet_commands import NnunetFolders

from nnunet_attention.demo.phantom import write_phantom_task

DATASET = "Dataset090_AbdomenPhantom"

pytestmark = [pytest.mark.slow, *needs_gpu]


@pytest.mark.parametrize("variant", ["", "_noDataLoading"])
def test_benchmark_trainers_write_the_time_of_an_epoch(tmp_path, variant):
    trainer = f"AttentionUNetTrainerBenchmark_5epochs{variant}"
    folders = NnunetFolders(tmp_path)
    task = write_phantom_task(tmp_path, 6, seed=0)
    (task / "imagesTs").mkdir()
    folders.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-np", 2)
    folders.run(
        *("nnUNetv2_plan_and_preprocess", "-d", 90, "-c", "3d_fullres", "-np", 1, "-npfp", 1),
        *("-gpu_memory_target", 0.05),
    )
    # One process would take minutes for an epoch's batches.
    many = {"nnUNet_n_proc_DA": "8"}
    folders.run("nnUNetv2_train", 90, "3d_fullres", 0, "-tr", trainer, variables=many)
    fold = folders.results / DATASET / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0"
    result = json.loads((fold / "benchmark_result.json").read_text())
    (of_this_machine,) = result.values()
    assert of_this_machine["fastest_epoch"] > 0
    assert not list(fold.glob("checkpoint_*.pth"))
