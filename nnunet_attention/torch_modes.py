"""Tells how torch is running at the moment, in a way that works with old versions too."""

import torch

# torch before 2.3 lacks it.
_is_compiling = getattr(torch.compiler, "is_compiling", lambda: False)


def is_traced() -> bool:
    """Tell whether torch is recording the computation: compile, export or jit.trace."""
    return _is_compiling() or torch.jit.is_tracing()


def is_autocast_on_cpu() -> bool:
    """Tell whether convolutions on a CPU are computed in 16 bits now."""
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # torch before 2.4
        return torch.is_autocast_cpu_enabled()
