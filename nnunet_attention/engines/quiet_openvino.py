"""Imports OpenVINO without its telemetry, and starts it only once."""

import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from nnunet_attention.errors import CommandError, last_line

if TYPE_CHECKING:
    from openvino import Core

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO without the telemetry that reports each import unless the user has opted out.

    OpenVINO uses a stub if its telemetry cannot be imported. If OpenVINO or its telemetry was
    imported before, nothing changes.

    Raises:
        CommandError: if it cannot be imported, as parts of it or of the system are missing.
    """
    absent = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
    if absent:
        # This makes importing the telemetry fail.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise CommandError(
            f"openvino cannot be imported: {last_line(error)}; install it again, or use "
            "--engine torch"
        ) from error
    finally:
        if absent:
            del sys.modules[_TELEMETRY]
    return openvino


@cache
def openvino_core() -> "Core":
    """Return OpenVINO's core, the same for the whole process.

    On a processor with AMX, each core gives its thread a new stack for signals, and restores the
    previous one when it is destroyed. If the older of two cores goes first, the younger one
    restores a stack that no longer exists: the next signal, such as that of Ctrl-C, ends the
    process with a segmentation fault.

    Raises:
        CommandError: see `import_openvino`.
    """
    return import_openvino().Core()
