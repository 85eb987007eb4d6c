from dataclasses import dataclass

from made_up_steps import MadeUpStep

from nnunet_attention.jobs.work import Work


@dataclass(frozen=True)
class Least(Work):
    """No more than work must say."""

    made_by = "a test"
    groups = ()

    def missing_steps(self, groups=None):
        return []

    def device_steps(self):
        return []


def test_work_depends_on_nothing_by_default():
    work = Least()
    assert work.depends_on() == {}
    work.check_unchanged({"group": {"plans": 1}})
    assert work.reading_locks() == []


def test_work_counts_steps_by_default(tmp_path):
    assert Least.counted == "steps"
    # A made-up step fills the one column.
    assert len(Least.columns) == len(MadeUpStep(tmp_path, "thing").cells)
