import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_attention.crossval import Folders, FoldRun
from nnunet_attention.nnunet.progress import Progress, progress_of, read_progress
from nnunet_attention.nnunet.training_log import parse_log

# As nnU-Net 2.8 writes it.
EPOCHS = """\
2026-11-23 16:01:41.901705: do_dummy_2d_data_aug: False
2026-11-23 16:01:42.245715: Epoch 0
2026-11-23 16:01:42.245887: Current learning rate: 0.01
2026-11-23 16:01:55.444649: Pseudo dice [np.float32(0.25), np.float32(0.75)]
2026-11-23 16:01:55.444743: Epoch time: 10.0 s
2026-11-23 16:01:55.475403: Yayy! New best EMA pseudo Dice: 0.1343
2026-11-23 16:01:56.473433: Epoch 1
2026-11-23 16:02:07.826246: Pseudo dice [np.float32(0.5), np.float32(nan)]
2026-11-23 16:02:07.826430: Epoch time: 20.0 s
2026-11-23 16:02:08.826430: Epoch 2
"""
TRAINED = "2026-11-23 16:03:29.257768: Training done.\n"
VALIDATING = """\
2026-11-23 16:03:29.537204: predicting case_1
2026-11-23 16:03:29.799732: case_1, shape torch.Size([1, 35, 51, 35]), rank 0
2026-11-23 16:03:42.232032: predicting case_2
"""
VALIDATED = "2026-11-23 16:04:51.960550: Validation complete\n"


def progress(text: str, epochs: int | None = None) -> Progress:
    return progress_of(parse_log(text), epochs)


def test_before_the_first_epoch_a_fold_is_starting():
    assert progress(EPOCHS.splitlines()[0]) == Progress()


def test_the_running_epoch_is_counted_from_one():
    assert progress(EPOCHS, epochs=10).epoch == 3


def test_pseudo_dice_is_the_mean_over_labels_that_have_one():
    assert progress("".join(EPOCHS.splitlines(True)[:5])).pseudo_dice == 0.5
    assert progress(EPOCHS).pseudo_dice == 0.5
    assert progress(EPOCHS.replace("nan", "0.7")).pseudo_dice == pytest.approx(0.6)


def test_pseudo_dice_of_an_older_numpy_is_read_too():
    assert progress("x: Pseudo dice [0.25, 0.75]\n").pseudo_dice == 0.5


def test_without_any_value_there_is_no_pseudo_dice():
    assert progress("x: Pseudo dice [nan]\n").pseudo_dice is None


def test_time_left_is_that_of_the_epochs_that_have_not_ended():
    found = progress(EPOCHS, epochs=10)
    assert found.epoch_seconds == 15.0
    assert found.seconds_left == 8 * 15.0


def test_without_the_number_of_epochs_no_time_left_is_claimed():
    assert progress(EPOCHS).seconds_left is None


def test_time_left_heeds_the_last_ten_epochs_only():
    slow = "".join(f"x: Epoch {n}\nx: Epoch time: 100.0 s\n" for n in range(10))
    fast = "".join(f"x: Epoch {n}\nx: Epoch time: 1.0 s\n" for n in range(10, 20))
    assert progress(slow + fast, epochs=21).epoch_seconds == 1.0


def test_validation_counts_its_cases():
    found = progress(EPOCHS + TRAINED + VALIDATING, epochs=3)
    assert (found.phase, found.validated_cases) == ("validating", 2)
    assert found.seconds_left is None


def test_cases_kept_from_an_interrupted_validation_count():
    kept = "x: The predictions of 2 of 5 cases are kept from an earlier validation\n"
    assert progress(kept).validated_cases == 2
    assert progress(kept + VALIDATING).validated_cases == 4


def test_the_end_of_the_validation_is_seen():
    assert progress(EPOCHS + TRAINED + VALIDATING + VALIDATED).phase == "validated"


@pytest.fixture
def fold(tmp_path):
    folders = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    run = FoldRun("Dataset901_Tiny", "3d_fullres", "Trainer", "nnUNetPlans", "0")
    run.folder(folders).mkdir(parents=True)
    return run, folders


def write_log(folder: Path, name: str, text: str, changed: float) -> None:
    (folder / name).write_text(text)
    os.utime(folder / name, (changed, changed))


def test_the_newest_log_counts_whatever_its_name(fold):
    run, folders = fold
    # By name the older one would come last: nnU-Net writes months without a leading zero.
    write_log(run.folder(folders), "training_log_2026_9_1_00_00_00.txt", EPOCHS, 100)
    write_log(run.folder(folders), "training_log_2026_10_1_00_00_00.txt", "x: Epoch 7\n", 200)
    assert read_progress(run, folders).epoch == 8


def test_logs_of_earlier_attempts_say_nothing_about_this_one(fold):
    run, folders = fold
    write_log(run.folder(folders), "training_log_2026_9_1_00_00_00.txt", EPOCHS, 100)
    assert read_progress(run, folders, since=150) == Progress()


def test_the_number_of_epochs_comes_from_the_trainers_attributes(fold):
    run, folders = fold
    write_log(run.folder(folders), "training_log_2026_9_1_00_00_00.txt", EPOCHS, 100)
    (run.folder(folders) / "debug.json").write_text('{"num_epochs": "1000"}')
    assert read_progress(run, folders).epochs == 1000


def test_a_fold_that_has_not_started_has_no_progress(fold):
    assert read_progress(*fold) == Progress()


def test_a_validation_says_of_how_many_cases_and_how_long_still(fold):
    run, folders = fold
    text = EPOCHS + TRAINED + VALIDATING
    write_log(run.folder(folders), "training_log_2026_9_1_00_00_00.txt", text, 100)
    assert read_progress(run, folders).cases is None
    folders.dataset(run.dataset).mkdir(parents=True)
    cases = [f"case_{number}" for number in range(52)]
    folders.splits(run.dataset).write_text(json.dumps([{"train": ["a"], "val": cases}]))
    progress = read_progress(run, folders)
    assert progress.cases == 52
    # From the first case's line to the second's; 51 have not ended.
    assert progress.case_seconds == pytest.approx(12.694828)
    assert progress.seconds_left == pytest.approx(51 * 12.694828)


def test_of_several_gpus_that_share_the_cases_no_number_is_claimed(fold):
    run, folders = fold
    run = replace(run, options=("-num_gpus", "2"))
    write_log(run.folder(folders), "training_log_2026_9_1_00_00_00.txt", VALIDATING, 100)
    folders.dataset(run.dataset).mkdir(parents=True)
    folders.splits(run.dataset).write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    assert read_progress(run, folders).cases is None
