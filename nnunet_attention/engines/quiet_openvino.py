"""Imports OpenVINO without its telemetry."""

import sys
from types import ModuleType

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO, which otherwise reports each import over the network, unless one opted out.

    Where its telemetry cannot be imported, OpenVINO has a stub for it. Who imported OpenVINO before
    is left with what that did.
    """
    absent = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
    if absent:
        # This stops an import of it.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if absent:
            del sys.modules[_TELEMETRY]
    return openvino
