"""Lines about progress come now and then, with what is left."""

import io
from itertools import pairwise

from nnunet_attention.pace import Pace, ProgressLines, TimeLeft, counted, megabytes


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_lines_become_rarer_up_to_one_in_five_minutes():
    clock = Clock()
    pace, due = Pace(clock), []
    for second in range(4000):
        clock.now = 1000.0 + second
        if pace.is_due():
            due.append(second)
    assert due[:4] == [10, 25, 48, 82]
    assert {later - sooner for sooner, later in pairwise(due[10:])} == {300}
    assert len(due) < 25


def test_time_left_is_that_of_what_was_done_since_the_start():
    clock = Clock()
    left = TimeLeft(clock)
    # What an earlier attempt has done took no time now.
    assert left(40, 100) is None
    clock.now += 30
    assert left(50, 100) == 150.0
    clock.now += 30
    assert left(100, 100) == 0.0
    assert left(100, None) is None


def lines(what, steps, total) -> list[str]:
    clock, stream = Clock(), io.StringIO()
    told = ProgressLines("evaluating cases", what, stream, clock)
    for done, seconds in steps:
        clock.now = 1000.0 + seconds
        told(done, total)
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


def test_a_line_names_case_number_and_time_left():
    found = lines(counted, [(0, 0), (1, 4), (2, 8), (3, 12), (4, 16), (7, 28)], 52)
    assert found == [
        "evaluating cases: case 3 of 52, 3:16 min left",
        "evaluating cases: case 7 of 52, 3:00 min left",
    ]


def test_what_is_over_soon_and_the_end_are_not_told():
    assert lines(counted, [(0, 0), (1, 3), (2, 6)], 2) == []
    assert lines(counted, [(0, 0), (2, 600)], 2) == []


def test_of_a_download_without_a_size_only_what_is_there_is_told():
    steps = [(0, 0), (5_000_000, 20)]
    assert lines(megabytes, steps, None) == ["evaluating cases: 5 MB"]
    assert lines(megabytes, steps, 50_000_000) == ["evaluating cases: 5 of 50 MB, 3:00 min left"]
