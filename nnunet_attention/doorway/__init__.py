"""Points nnU-Net's trainer search to this directory, by a registration at start-up.

nnU-Net imports every module of the directories named in the environment variable
`nnUNet_extTrainer`. This directory holds only one such module. A `.pth` file in site-packages calls
`register_at_startup` whenever Python starts, so this module imports nothing but `os`.
"""

import os

SEARCH_PATH_VARIABLE = "nnUNet_extTrainer"
OPT_OUT_VARIABLE = "NNUNET_ATTENTION_AUTOREGISTER"


def directory() -> str:
    """Return the absolute path of the doorway, for `export nnUNet_extTrainer=...`."""
    return os.path.dirname(os.path.abspath(__file__))


def is_registered() -> bool:
    """Tell whether the doorway is on nnU-Net's trainer search path in this process."""
    return directory() in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep)


def is_switched_off() -> bool:
    """Tell whether the user has opted out with NNUNET_ATTENTION_AUTOREGISTER=0."""
    return os.environ.get(OPT_OUT_VARIABLE, "").strip().lower() in ("0", "false", "no", "off")


def register_at_startup() -> None:
    """Append the doorway to nnU-Net's trainer search path, unless switched off or already there.

    Child processes inherit the variable. A user's own directories stay before ours.
    """
    if is_switched_off() or is_registered():
        return
    present = os.environ.get(SEARCH_PATH_VARIABLE)
    os.environ[SEARCH_PATH_VARIABLE] = (
        present + os.pathsep + directory() if present else directory()
    )
