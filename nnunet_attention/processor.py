"""Tells what the processors can do and how many there are, without torch."""

import os
from pathlib import Path

# Products of 16-bit numbers in hardware: Intel and AMD, Intel's matrix unit, ARM.
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
_CPUINFO = Path("/proc/cpuinfo")


def processors() -> int:
    """Count the processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def why_no_bfloat16(cpuinfo: Path = _CPUINFO) -> str | None:
    """Say why this processor is slow with bfloat16; None if it has instructions for it.

    Args:
        cpuinfo: Linux's description of the processor.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{cpuinfo} cannot be read, so it is unknown what the processor supports"
    flags: set[str] = set()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags.update(value.split())
    if flags.isdisjoint(BFLOAT16):
        return f"the processor has none of the instructions {', '.join(BFLOAT16)}"
    return None
