"""Points nnU-Net at the demo's folders, in this process and the commands that it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nnunet_attention import doorway
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE, asks_for_no_workers

# Enough to keep up with a CPU: augmenting a batch takes a tenth of a training step.
_AUGMENTATION_PROCESSES = "2"
# Variables for the folders of nnU-Net version 1, besides nnUNet_preprocessed.
_OLD_FOLDER_VARIABLES = ("nnUNet_raw_data_base", "RESULTS_FOLDER")


def environment(folders: Folders, settings: DemoSettings) -> dict[str, str]:
    """Return this process's environment with nnU-Net's folders set to the demo's only."""
    kept = {n: value for n, value in os.environ.items() if n not in _OLD_FOLDER_VARIABLES}
    return kept | {
        **folders.variables,
        # Our directory only: a broken module in a user's folder would stop the trainer search.
        doorway.SEARCH_PATH_VARIABLE: doorway.directory(),
        # A user's 0 makes the training repeatable.
        WORKERS_VARIABLE: "0" if asks_for_no_workers(kept) else _AUGMENTATION_PROCESSES,
        "nnUNet_def_n_proc": str(settings.processes),
        "nnUNet_wandb_enabled": "0",
        SCHEDULE_VARIABLE: settings.schedule,
    }


@contextmanager
def demo_environment(folders: Folders, settings: DemoSettings) -> Iterator[None]:
    """Set the variables of `environment` for a `with` block, and restore the old ones after it."""
    before = dict(os.environ)
    changed = environment(folders, settings)
    try:
        _become(changed)
        yield
    finally:
        _become(before)


def _become(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)
