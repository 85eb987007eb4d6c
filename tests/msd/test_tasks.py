import pytest
from msd_archives import NAME

from nnunet_attention.errors import CommandError
from nnunet_attention.msd.tasks import TASKS, find_task


@pytest.mark.parametrize(
    "text", ["4", "04", NAME, "hippocampus", "Dataset004_Hippocampus", "task4_hippocampus"]
)
def test_task_is_found_by_any_of_its_names(text):
    assert find_task(text).name == NAME
    assert find_task(text).dataset_name == "Dataset004_Hippocampus"


@pytest.mark.parametrize("text", ["0", "11", "Kidney", "Task05_Hippocampus", ""])
def test_what_is_no_task_is_refused_with_the_ten_that_are(text):
    with pytest.raises(CommandError, match=r"is not a task of the Decathlon.*Task10_Colon"):
        find_task(text)


def test_ten_tasks_have_a_sum_each():
    assert [task.number for task in TASKS] == list(range(1, 11))
    assert all(len(task.md5) == 32 for task in TASKS)
    assert len({task.md5 for task in TASKS}) == 10
