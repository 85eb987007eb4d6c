"""Hours and seconds from logs as nnU-Net writes them."""

import pytest

from nnunet_attention.evaluation.leaderboard.costs import Cost, epoch_seconds, read_cost

# nnU-Net ends its lines with a space, here _.
FIRST = """
2026-01-01 10:00:00.000000: Epoch 0_
2026-01-01 10:30:00.000000: Epoch time: 1800.0 s
2026-01-01 10:30:00.000000: Epoch 1_
2026-01-01 10:40:00.000000: Epoch time: 600.0 s
"""
CONTINUED = """
2026-01-02 10:00:00.000000: Epoch 1_
2026-01-02 10:30:00.000000: Epoch time: 1200.0 s_
2026-01-02 10:30:00.000000: Epoch 2_
2026-01-02 10:30:00.000000: Epoch time: 600.0 s_
2026-01-02 11:00:00.250000: predicting case_1_
2026-01-02 11:00:00.300000: case_1, shape torch.Size([1, 38, 49, 34]), rank 0_
2026-01-02 11:00:02.250000: predicting case_2_
2026-01-02 11:00:06.250000: predicting case_3_
2026-01-02 11:00:09.250000: Validation complete_
"""


def as_logged(text: str) -> str:
    return text.replace("_\n", " \n")


def test_epochs_count_once_and_cases_from_start_to_start(tmp_path):
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "training_log_2026_1_1_10_00_00.txt").write_text(as_logged(FIRST))
    (tmp_path / "fold_0" / "training_log_2026_1_2_10_00_00.txt").write_text(as_logged(CONTINUED))
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1" / "training_log_2026_1_1_10_00_00.txt").write_text(as_logged(FIRST))
    # Fold 0: 1800 + 1200 + 600 s; fold 1: 1800 + 600 s. Cases: 2 s and 4 s.
    cost = read_cost(tmp_path, [0, 1, 2], parameters=7)
    assert cost == Cost(7, pytest.approx((1 + 2 / 3) / 2), pytest.approx(3.0))
    assert epoch_seconds(tmp_path / "fold_0") == {0: 1800.0, 1: 1200.0, 2: 600.0}
    assert epoch_seconds(tmp_path / "fold_2") == {}


@pytest.mark.parametrize(
    ("begun", "resumed"),
    [
        ("2026_9_30_23_00_00", "2026_10_1_09_00_00"),
        ("2026_1_9_23_00_00", "2026_1_10_09_00_00"),
        ("2026_1_1_09_00_00", "2026_1_1_10_00_00"),
        ("2026_12_31_23_00_00", "2027_1_1_00_30_00"),
    ],
)
def test_an_epoch_in_two_logs_counts_as_it_ran_last(tmp_path, begun, resumed):
    """By name the older log would often come last: months and days have no leading zero."""
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / f"training_log_{begun}.txt").write_text(as_logged(FIRST))
    (tmp_path / "fold_0" / f"training_log_{resumed}.txt").write_text(as_logged(CONTINUED))
    assert read_cost(tmp_path, [0]).training_hours == pytest.approx((1800 + 1200 + 600) / 3600)


def test_without_logs_nothing_is_known(tmp_path):
    assert read_cost(tmp_path, [0]) == Cost(None, None, None)
    assert not read_cost(tmp_path, [0]).is_known
