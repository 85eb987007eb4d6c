"""Imports onnxruntime without its telemetry."""

from types import ModuleType

from nnunet_attention.errors import CommandError, last_line


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime, and switch off the telemetry that it sends on Windows.

    Raises:
        CommandError: if it cannot be imported, as parts of it or of the system are missing.
    """
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise CommandError(
            f"onnxruntime cannot be imported: {last_line(error)}; install it again"
        ) from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime
