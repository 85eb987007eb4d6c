"""Freed memory stays with the process: what the kernel counts, and whose decision it is."""

import ctypes
import os
import subprocess
import sys

import pytest

from nnunet_attention.allocator import KEEPING, keep_freed_memory, variables_to_keep_memory

# Touches 64 MiB of fresh memory ten times, and prints how many pages the kernel had to bring.
PAGES = """
import resource, sys
from nnunet_attention.allocator import keep_freed_memory
kept = sys.argv[1] == "call" and keep_freed_memory()
if sys.argv[1] == "call":
    assert kept
for _ in range(2):
    bytearray(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def is_glibc():
    try:
        return hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
    except TypeError:
        return False


def pages_brought(how, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in KEEPING}
    done = subprocess.run(
        [sys.executable, "-c", PAGES, how],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not is_glibc(), reason="only glibc's allocator is told to keep memory")
def test_freed_memory_is_used_again_without_the_kernel():
    # 64 MiB are 16,384 pages of 4 KiB, or 32 huge ones.
    by_default = pages_brought("default")
    assert by_default >= 10 * 32
    assert pages_brought("call") < by_default / 10
    assert pages_brought("default", **KEEPING) < by_default / 10


@pytest.mark.parametrize(
    "decision",
    [
        {"NNUNET_ATTENTION_KEEP_MEMORY": "0"},
        {"MALLOC_MMAP_MAX_": "10"},
        {"MALLOC_TRIM_THRESHOLD_": "1000"},
    ],
)
def test_a_persons_own_decision_stays(monkeypatch, decision):
    for name in KEEPING:
        monkeypatch.delenv(name, raising=False)
    assert variables_to_keep_memory() == KEEPING
    for name, value in decision.items():
        monkeypatch.setenv(name, value)
    assert variables_to_keep_memory() == {}
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("the allocator was changed"))
    assert keep_freed_memory() is False


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, error):
    for name in KEEPING:
        monkeypatch.delenv(name, raising=False)

    def no_such_library(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", no_such_library)
    assert keep_freed_memory() is False
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert keep_freed_memory() is False
