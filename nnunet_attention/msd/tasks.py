"""Knows the ten tasks of the Medical Segmentation Decathlon by all their names."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_names import full_dataset_name

# MD5 sums of the archives in the bucket at `archives.BASE_URL`, as Project-MONAI/MONAI lists them
# (monai/apps/datasets.py, class DecathlonDataset).
_MD5 = {
    "Task01_BrainTumour": "240a19d752f0d9e9101544901065d872",
    "Task02_Heart": "06ee59366e1e5124267b774dbd654057",
    "Task03_Liver": "a90ec6c4aa7f6a3d087205e23d4e6397",
    "Task04_Hippocampus": "9d24dba78a72977dbd1d2e110310f31b",
    "Task05_Prostate": "35138f08b1efaef89d7424d2bcc928db",
    "Task06_Lung": "8afd997733c7fc0432f71255ba4e52dc",
    "Task07_Pancreas": "4f7080cfca169fa8066d17ce6eb061e4",
    "Task08_HepaticVessel": "641d79e80ec66453921d997fbf12a29c",
    "Task09_Spleen": "410d4a301da4e5b2f6f86ec3ddba524e",
    "Task10_Colon": "bad7a188931dc2f6acf72b08eb6202d0",
}


@dataclass(frozen=True)
class Task:
    """A task of the Decathlon.

    Attributes:
        name: Name of the archive and of the folder in it, such as Task04_Hippocampus.
        md5: MD5 sum of the archive; None where it is not known.
    """

    name: str
    md5: str | None

    @property
    def number(self) -> int:
        """The task's number, such as 4 of Task04_Hippocampus."""
        return int(self.name[4:6])

    @property
    def archive_name(self) -> str:
        """The name of the file that is downloaded."""
        return f"{self.name}.tar"

    @property
    def dataset_name(self) -> str:
        """The name that nnU-Net's conversion gives the task, such as Dataset004_Hippocampus."""
        return full_dataset_name(self.number, self.name.partition("_")[2])


TASKS = tuple(Task(name, md5) for name, md5 in _MD5.items())


def find_task(text: str) -> Task:
    """Find a task by its number or by any of its names.

    Args:
        text: A number, 4 or 04, or the name with or without what nnU-Net or the Decathlon puts
            before it: Hippocampus, Task04_Hippocampus, Dataset004_Hippocampus.

    Returns:
        The task.

    Raises:
        CommandError: If there is no such task.
    """
    short_name = re.sub(r"^(task|dataset)\d*_?", "", text, flags=re.IGNORECASE).lower()
    for task in TASKS:
        if text.isdecimal():
            if int(text) == task.number:
                return task
        elif short_name == task.name.partition("_")[2].lower() and _number_in(text) in (
            None,
            task.number,
        ):
            return task
    raise CommandError(
        f"{text} is not a task of the Decathlon; choose from {', '.join(t.name for t in TASKS)}"
    )


def _number_in(text: str) -> int | None:
    match = re.match(r"(?:task|dataset)(\d+)", text, flags=re.IGNORECASE)
    return int(match[1]) if match else None
