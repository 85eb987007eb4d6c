"""Profiles where a gate's time goes: its operations, forward and backward, by share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

_REPEATS = 5


def operations(run: Callable[[], object], device: torch.device) -> list[tuple[str, float, float]]:
    """List each operation's name, seconds per run and share of the total, the longest first.

    On a GPU, it lists kernels and copies only, as the operations that launched them would count the
    same time again.
    """
    activities = [ProfilerActivity.CPU]
    attribute = "self_cpu_time_total"
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        attribute = "self_device_time_total"
    run()
    with profile(activities=activities) as recorded:
        for _ in range(_REPEATS):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    rows = [
        (event.key, getattr(event, attribute) / 1e6)
        for event in recorded.key_averages()
        if device.type != "cuda" or event.device_type == DeviceType.CUDA
    ]
    total = sum(seconds for _, seconds in rows)
    rows.sort(key=lambda row: -row[1])
    return [(name, seconds / _REPEATS, seconds / total) for name, seconds in rows if seconds]
