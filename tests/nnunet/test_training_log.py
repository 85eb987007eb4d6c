import math
import os
from datetime import datetime

import pytest

from nnunet_attention.nnunet.training_log import (
    Epoch,
    TrainingLog,
    log_files,
    parse_log,
    read_end,
    read_logs,
    read_newest_log,
)

# nnU-Net ends its lines with a space.
TEXT = """\
2026-11-23 16:01:41.901705: do_dummy_2d_data_aug: False 
2026-11-23 16:01:42.250000: Epoch 0 
2026-11-23 16:01:42.245887: Current learning rate: 0.01 
2026-11-23 16:01:55.444649: Pseudo dice [np.float32(0.25), np.float32(nan)] 
2026-11-23 16:01:55.444743: Epoch time: 10.5 s 
2026-11-23 16:01:56.500000: Epoch 1 
"""  # noqa: W291
VALIDATION = """\
2026-11-23 16:03:29.257768: Training done. 
2026-11-23 16:03:29.000000: The predictions of 2 of 5 cases are kept from an earlier validation 
2026-11-23 16:03:30.000000: predicting case_1 
2026-11-23 16:03:30.100000: case_1, shape torch.Size([1, 35, 51, 35]), rank 0 
2026-11-23 16:03:34.000000: predicting case_2 
"""  # noqa: W291


def test_epochs_have_their_times_and_pseudo_dice():
    whole, running = parse_log(TEXT).epochs
    assert whole.begun == datetime(2026, 11, 23, 16, 1, 42, 250000)
    assert (whole.number, whole.seconds) == (0, 10.5)
    assert whole.pseudo_dice[0] == 0.25
    assert math.isnan(whole.pseudo_dice[1])
    assert running == Epoch(1, datetime(2026, 11, 23, 16, 1, 56, 500000))


def test_only_whole_epochs_have_a_duration():
    log = parse_log(TEXT)
    assert log.seconds_of_epoch == {0: 10.5}
    assert log.last_epoch == 1


def test_an_epoch_whose_first_line_is_cut_off_has_no_number():
    log = parse_log("56: Epoch time: 3.0 s \n2026-01-01 10:00:00.5: Epoch 7 \n")
    assert [epoch.number for epoch in log.epochs] == [None, 7]
    assert log.seconds_of_epoch == {}


def test_lines_without_a_time_are_read_too():
    log = parse_log("x: Epoch 3\nx: predicting a\n")
    assert log.epochs == (Epoch(3),)
    assert log.predictions_begun == (None,)


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ("", "starting"),
        (TEXT, "training"),
        (TEXT + VALIDATION, "validating"),
        (TEXT + VALIDATION + "2026-11-23 16:04:00.0: Validation complete \n", "validated"),
        # A training that was continued validates anew.
        (VALIDATION + TEXT, "training"),
    ],
)
def test_the_last_event_tells_the_phase(text, phase):
    assert parse_log(text).phase == phase


def test_the_validation_tells_when_each_prediction_began():
    log = parse_log(TEXT + VALIDATION)
    assert log.predictions_begun == (
        datetime(2026, 11, 23, 16, 3, 30),
        datetime(2026, 11, 23, 16, 3, 34),
    )
    assert log.kept_cases == 2


def test_logs_are_in_the_order_of_the_times_in_their_names(tmp_path):
    # As texts, October stands before September, and the 10th before the 9th.
    names = [
        "training_log_2026_9_30_23_00_00.txt",
        "training_log_2026_10_9_09_00_00.txt",
        "training_log_2026_10_10_09_00_00.txt",
    ]
    for number, name in reversed(list(enumerate(names))):
        (tmp_path / name).write_text(f"x: Epoch {number}\n")
    assert [path.name for path in log_files(tmp_path)] == names
    assert [log.last_epoch for log in read_logs(tmp_path)] == [0, 1, 2]
    assert read_newest_log(tmp_path).last_epoch == 2


def test_of_logs_older_than_an_attempt_none_is_read(tmp_path):
    path = tmp_path / "training_log_2026_9_30_23_00_00.txt"
    path.write_text("x: Epoch 4\n")
    os.utime(path, (100, 100))
    assert read_newest_log(tmp_path, since=100).last_epoch == 4
    assert read_newest_log(tmp_path, since=101) == TrainingLog()


def test_the_end_of_a_long_log_tells_the_last_epoch(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"2026-01-01 10:00:00.1: Epoch {n} \nloss\n" for n in range(3000)))
    assert path.stat().st_size > 64_000
    log = read_end(path)
    assert log.last_epoch == 2999
    assert 100 < len(log.epochs) < 3000


def test_the_last_epoch_is_read_from_nnunets_log(tmp_path):
    log = tmp_path / "log"
    assert read_end(log).last_epoch is None
    log.write_text("$ nnUNetv2_train\n")
    assert read_end(log).last_epoch is None
    log.write_text("2026-01-01 10:00:00.1: Epoch 0 \n: Epoch time: 9.1 s\n10:01: Epoch 12 \nloss\n")
    assert read_end(log).last_epoch == 12
