"""Tests that run on a GPU where there is one, and those that a CPU can stand in for on both."""

import pytest
import torch

_NO_GPU = "torch finds no CUDA device"

# Of a test, or of a module.
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason=_NO_GPU),
]
needs_two_gpus = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        torch.cuda.device_count() < 2,
        reason=f"needs two CUDA devices, here are {torch.cuda.device_count()}",
    ),
]
each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])


def marked(marks: list):
    """Puts several marks on a test."""

    def put(function):
        for mark in marks:
            function = mark(function)
        return function

    return put


def autocast(device: str, precision: torch.dtype = torch.float16) -> torch.autocast:
    """As nnU-Net has it on a GPU; on a CPU 16 bits are bfloat16's."""
    return torch.autocast(device, torch.bfloat16 if device == "cpu" else precision)
