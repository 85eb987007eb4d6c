"""Fetches and converts the Medical Segmentation Decathlon, and knows what was published on it."""

from nnunet_attention.msd.archives import BASE_URL, fetch, find_local
from nnunet_attention.msd.conversion import convert
from nnunet_attention.msd.published import (
    PublishedResult,
    published_results,
    published_sources,
    published_table,
    write_published,
)
from nnunet_attention.msd.running import TaskSource, missing_preparation, prepare, run
from nnunet_attention.msd.task_folder import MsdTask, copy_cases, read_msd_task
from nnunet_attention.msd.tasks import TASKS, Task, find_task

__all__ = [
    "BASE_URL",
    "TASKS",
    "MsdTask",
    "PublishedResult",
    "Task",
    "TaskSource",
    "convert",
    "copy_cases",
    "fetch",
    "find_local",
    "find_task",
    "missing_preparation",
    "prepare",
    "published_results",
    "published_sources",
    "published_table",
    "read_msd_task",
    "run",
    "write_published",
]
