"""Identifies the machine, in a process of its own, so that this one holds no GPU memory."""

from __future__ import annotations

import json
import subprocess
import sys

from nnunet_attention.errors import CommandError

_PROGRAM = """
import json, sys, torch
from benchmarks.machine import machine
device = torch.device(sys.argv[1])
if device.type == "cuda" and not torch.cuda.is_available():
    sys.exit("torch finds no GPU here")
found = {**machine(device), "device": device.type}
if device.type == "cuda":
    properties = torch.cuda.get_device_properties(device)
    found |= {
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "gpus": torch.cuda.device_count(),
    }
print(json.dumps(found))
"""


def probe(device: str) -> dict:
    """Return the kind of GPU or processor, and versions.

    Raises:
        CommandError: if there is no such device.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, device], capture_output=True, text=True, check=False
    )
    if done.returncode:
        end = (done.stderr.strip() or "no message").splitlines()[-1]
        raise CommandError(f"--device {device}: {end}; --device cpu tries it all out on a CPU")
    return json.loads(done.stdout.splitlines()[-1])
