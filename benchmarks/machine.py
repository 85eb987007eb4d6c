"""Describes the kind of machine that made a measurement, and its software versions."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch


def machine(device: torch.device) -> dict:
    """Describe the kind of processor or GPU (not the individual machine), threads and versions.

    Of a CPU also the widest vector instructions that torch uses: on cloud machines, processors of
    one name were found to differ nearly threefold in speed.
    """
    kind = platform.processor() or platform.machine()
    if device.type == "cuda":
        kind = torch.cuda.get_device_name(device)
    elif Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kind = next((line.split(":")[1].strip() for line in lines if "model name" in line), kind)
    on_cpu = {"instructions": torch.backends.cpu.get_cpu_capability()}
    return {
        "kind": kind,
        **({} if device.type == "cuda" else on_cpu),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "nnunetv2": version("nnunetv2"),
        "python": platform.python_version(),
    }


def told(record: dict) -> str:
    """Describe a machine's record in one line."""
    threads = f"{record['threads']} thread{'s' * (record['threads'] != 1)}"
    # Older records lack it.
    instructions = f" with {record['instructions']}" if "instructions" in record else ""
    return (
        f"{record['kind']}{instructions}, {threads}; torch {record['torch']}, nnunetv2 "
        f"{record['nnunetv2']}, Python {record['python']}"
    )
