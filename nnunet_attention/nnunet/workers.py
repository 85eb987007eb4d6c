"""Hides nnU-Net's variable for data augmentation workers wherever it must not be 0.

With `nnUNet_n_proc_DA=0` a training augments in its own process, which makes it repeatable.
nnU-Net's planners use the same number for torch's threads, which cannot be 0.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

WORKERS_VARIABLE = "nnUNet_n_proc_DA"


def asks_for_no_workers(environment: Mapping[str, str]) -> bool:
    """Tell whether the variable is 0."""
    return environment.get(WORKERS_VARIABLE, "").strip() == "0"


def planning_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Copy the environment for commands that plan: without the variable if it is 0."""
    planning = dict(environment)
    if asks_for_no_workers(environment):
        del planning[WORKERS_VARIABLE]
    return planning


@contextlib.contextmanager
def planning_in_this_process() -> Iterator[None]:
    """Take the variable out of this process's environment inside the block if it is 0."""
    if not asks_for_no_workers(os.environ):
        yield
        return
    before = os.environ.pop(WORKERS_VARIABLE)
    try:
        yield
    finally:
        os.environ[WORKERS_VARIABLE] = before
