"""Describes the kind of machine that made a measurement, and its software versions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch


def machine(device: torch.device) -> dict:
    """Describe the kind of processor or GPU (not the individual machine), threads and versions."""
    kind = platform.processor() or platform.machine()
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    elif Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kind = next((line.split(":")[1].strip() for line in lines if "model name" in line), kind)
    return {
        "kind": kind,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "nnunetv2": version("nnunetv2"),
        "python": platform.python_version(),
    }


def told(record: dict) -> str:
    """Describe a machine's record in one line."""
    threads = f"{record['threads']} thread{'s' * (record['threads'] != 1)}"
    return (
        f"{record['kind']}, {threads}; torch {record['torch']}, nnunetv2 "
        f"{record['nnunetv2']}, Python {record['python']}"
    )
