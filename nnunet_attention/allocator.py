"""Has glibc's allocator keep freed memory in the process during a training."""

import ctypes
import os

# The environment variable that leaves the allocator as it is when set to 0.
KEEP_VARIABLE = "NNUNET_ATTENTION_KEEP_MEMORY"
# glibc's own variables that keep freed memory in a process yet to be started.
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}
# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for what this process allocates next.

    By default glibc gets the memory of every large tensor from the kernel and gives it back; the
    kernel zeroes the pages each time, which takes a quarter or more of a training's time on a CPU.
    Results stay the same. The user's own settings are left alone: NNUNET_ATTENTION_KEEP_MEMORY=0
    and glibc's variables, MALLOC_MMAP_MAX_ and MALLOC_TRIM_THRESHOLD_.

    Returns:
        Whether it was done; False with a C library other than glibc.

    References:
        https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if not variables_to_keep_memory():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows
        return False
    # Large blocks get no mapping of their own, and the heap is never given back.
    return mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, -1) == 1


def variables_to_keep_memory() -> dict[str, str]:
    """Return the variables that do this in a new process; none if the user has set some."""
    decided = os.environ.get(KEEP_VARIABLE) == "0" or any(name in os.environ for name in KEEPING)
    return {} if decided else dict(KEEPING)
