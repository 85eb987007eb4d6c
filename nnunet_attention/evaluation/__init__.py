"""Evaluates segmentations and cross-validations; needs neither torch nor nnunetv2."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_attention.evaluation.api import *  # noqa: F403 - the one list of what there is

_API = "nnunet_attention.evaluation.api"


def __getattr__(name: str) -> object:
    # Loaded on first use, as parsing options needs only the names of metrics and policies.
    if name == "__all__" or not name.startswith("__"):
        api = import_module(_API)
        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(import_module(_API).__all__)
