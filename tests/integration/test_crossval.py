"""`crossval` on real MSD data by the real commands, from raw data to the leaderboard."""

import json
import os

import pytest
from nnunet_commands import NnunetFolders, msd_subset, raw_subset
from shared_data import HIPPOCAMPUS, NUCLEI, needs
from slurm_node import running_slurm

pytestmark = [pytest.mark.slow, needs(HIPPOCAMPUS)]

DATASET = "Dataset004_Hippocampus"
TRAINERS = ("nnUNetTrainer_short", "AttentionUNetTrainer_short")
CROSSVAL = (
    *("crossval", "-d", 4, "-c", "2d", "-tr", *TRAINERS, "-f", 0, 1, "-device", "cpu"),
    *("-np", 2, "-o", "out"),
)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    root = tmp_path_factory.mktemp("crossval")
    folders = NnunetFolders(root)
    task = msd_subset(HIPPOCAMPUS, root / "Task04_Hippocampus", cases=5)
    folders.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-np", 2)
    # Planned for little memory, so that a step takes a fraction of a second on a CPU.
    folders.run("nnUNetv2_extract_fingerprint", "-d", 4, "-np", 2)
    folders.run("nnUNetv2_plan_experiment", "-d", 4, "-gpu_memory_target", 0.05)
    return folders


@pytest.fixture(scope="module")
def first_launch(nnunet):
    return nnunet.run("nnunet-attention", *CROSSVAL, schedule="1,2,1")


def test_a_data_set_becomes_a_leaderboard(nnunet, first_launch):
    board = json.loads((nnunet.root / "out" / "leaderboard" / "leaderboard.json").read_text())
    assert DATASET in json.dumps(board)
    page = (nnunet.root / "out" / "leaderboard" / "leaderboard.html").read_text()
    for trainer in TRAINERS:
        assert trainer in page
        assert trainer in first_launch


def test_the_folds_validate_what_nnunets_own_split_says(nnunet, first_launch):
    splits = json.loads((nnunet.preprocessed / DATASET / "splits_final.json").read_text())
    assert len(splits) == 5
    for trainer in TRAINERS:
        for fold in (0, 1):
            validation = (
                nnunet.results / DATASET / f"{trainer}__nnUNetPlans__2d" / f"fold_{fold}/validation"
            )
            found = {path.name.removesuffix(".nii.gz") for path in validation.glob("*.nii.gz")}
            assert found == set(splits[fold]["val"])


def test_the_manifest_tells_what_was_run_and_how_long_it_took(nnunet, first_launch):
    manifest = json.loads((nnunet.root / "out" / "manifest.json").read_text())
    folds = [one for one in manifest["attempts"] if one["kind"] == "fold"]
    assert len(folds) == 4
    assert all(one["ok"] and one["seconds"] > 1 for one in folds)
    assert folds[0]["command"][:4] == ["nnUNetv2_train", DATASET, "2d", "0"]
    assert manifest["launches"][0]["versions"]["nnunetv2"]
    assert manifest["launches"][0]["hardware"]["cores"] >= 1


def test_a_second_launch_trains_nothing(nnunet, first_launch):
    before = sorted(nnunet.results.glob("*/*/fold_*/*"))
    again = nnunet.run("nnunet-attention", *CROSSVAL, "--no-leaderboard", schedule="1,2,1")
    assert "4 of 4 folds are finished; 0 steps to do" in again
    assert sorted(nnunet.results.glob("*/*/fold_*/*")) == before


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    root = tmp_path_factory.mktemp("nuclei")
    folders = NnunetFolders(root)
    raw_subset(NUCLEI, folders.raw / NUCLEI.name, cases=5)
    folders.run("nnUNetv2_extract_fingerprint", "-d", 18, "-np", 2)
    folders.run("nnUNetv2_plan_experiment", "-d", 18, "-gpu_memory_target", 0.05)
    return folders


@pytest.mark.exhaustive
@pytest.mark.skipif(not NUCLEI.is_dir(), reason=f"no real data in {NUCLEI}")
def test_real_folds_run_as_slurm_jobs_up_to_the_leaderboard(nuclei, tmp_path):
    with running_slurm(tmp_path / "slurm"):
        output = nuclei.run(
            *("nnunet-attention", "crossval", "-d", 18, "-c", "2d", "-tr", *TRAINERS, "-f", 0),
            *("-device", "cpu", "-np", 2, "-o", "out", "--slurm", "--cpus", 1, "--time", 30),
            *("--sbatch", "mem=100MB"),
            variables={"SLURM_CONF": os.environ["SLURM_CONF"]},
        )
    for trainer in TRAINERS:
        assert trainer in output
    manifest = json.loads((nuclei.root / "out" / "manifest.json").read_text())
    folds = [one for one in manifest["attempts"] if one["kind"] == "fold"]
    assert len(folds) == 2
    assert all(one["ok"] and "_" in one["slurm_job"] for one in folds)
