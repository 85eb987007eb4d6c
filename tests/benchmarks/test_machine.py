"""The record of the machine that made a measurement."""

import torch

from benchmarks.machine import machine, told

RECORD = {"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8", "python": "3"}


def test_processors_of_one_name_are_told_apart_by_their_instructions():
    found = machine(torch.device("cpu"))
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert told({**RECORD, "instructions": "AVX2"}) == (
        "Abacus with AVX2, 2 threads; torch 2, nnunetv2 2.8, Python 3"
    )


def test_an_older_record_is_told_without_instructions():
    assert told({**RECORD, "threads": 1}) == "Abacus, 1 thread; torch 2, nnunetv2 2.8, Python 3"


def test_a_gpu_has_no_instructions_of_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Abacus")
    found = machine(torch.device("cuda"))
    assert found["kind"] == "Abacus"
    assert "instructions" not in found
