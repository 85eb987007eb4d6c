"""Keeps memory that is freed with the process, by what glibc's allocator is told in a training."""

import ctypes
import os

# The variable that leaves the allocator as it is, when set to 0.
KEEP_VARIABLE = "NNUNET_ATTENTION_KEEP_MEMORY"
# The same for a process to be started, in the words of glibc.
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}
# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for what this process allocates next.

    By default glibc takes every large tensor from the kernel and gives it back; the kernel then
    fills its pages with zeros each time, a quarter of a training's time on a CPU and more.
    Results stay the same. A person's own settings are left alone: NNUNET_ATTENTION_KEEP_MEMORY=0
    and glibc's variables, MALLOC_MMAP_MAX_ and MALLOC_TRIM_THRESHOLD_.

    Returns:
        Whether it was done; not with another C library than glibc.

    References:
        https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if not variables_to_keep_memory():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows
        return False
    # No memory of its own for a large block, and none of the rest is ever given back.
    return mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, -1) == 1


def variables_to_keep_memory() -> dict[str, str]:
    """Return the variables by which a process to be started keeps its memory too, if any."""
    decided = os.environ.get(KEEP_VARIABLE) == "0" or any(name in os.environ for name in KEEPING)
    return {} if decided else dict(KEEPING)
