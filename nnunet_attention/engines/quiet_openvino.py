"""Imports OpenVINO without its telemetry, and starts it once."""

import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from nnunet_attention.errors import CommandError, last_line

if TYPE_CHECKING:
    from openvino import Core

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO, which otherwise reports each import over the network, unless one opted out.

    Where its telemetry cannot be imported, OpenVINO has a stub for it. Who imported OpenVINO before
    is left with what that did.

    Raises:
        CommandError: if it cannot be imported, as parts of it or of the system are missing.
    """
    absent = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
    if absent:
        # This stops an import of it.
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

    Where a processor has AMX, each core gives its thread another stack for signals, and puts the
    one from before back when it goes. Of two, the older gone first, what is put back no longer
    exists: the next signal, such as that of Ctrl-C, ends the process with a segmentation fault.

    Raises:
        CommandError: see `import_openvino`.
    """
    return import_openvino().Core()
