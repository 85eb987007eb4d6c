"""nnU-Net's variable for the worker processes of data augmentation, where it must not be 0.

With `nnUNet_n_proc_DA=0` a training augments in its own process, which makes it repeatable.
nnU-Net's planners take the same number for torch's threads, of which there cannot be 0.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

WORKERS_VARIABLE = "nnUNet_n_proc_DA"


def asks_for_no_workers(environment: Mapping[str, str]) -> bool:
    """Tells whether the variable is 0."""
    return environment.get(WORKERS_VARIABLE, "").strip() == "0"


def planning_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns a copy of the environment for commands that plan: without the variable if it is 0."""
    planning = dict(environment)
    if asks_for_no_workers(environment):
        del planning[WORKERS_VARIABLE]
    return planning


@contextlib.contextmanager
def planning_in_this_process() -> Iterator[None]:
    """Takes the variable out of this process's environment for a while if it is 0."""
    before = os.environ.get(WORKERS_VARIABLE)
    if not asks_for_no_workers(os.environ):
        yield
        return
    del os.environ[WORKERS_VARIABLE]
    try:
        yield
    finally:
        os.environ[WORKERS_VARIABLE] = before
