"""What the processor can do is read off Linux's description of it."""

import pytest

from nnunet_attention.processor import processors, why_no_bfloat16


def test_processors_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {1, 4, 5}, raising=False)
    assert processors() == 3


@pytest.mark.parametrize(
    "line", ["flags\t\t: fpu avx2 avx512_bf16", "flags : amx_bf16 sse", "Features\t: fp asimd bf16"]
)
def test_each_instruction_is_enough(tmp_path, line):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{line}\nbugs\t: none\n\n")
    assert why_no_bfloat16(path) is None


def test_a_processor_without_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "cpuinfo"
    # Not a flag of its own, and a word of another line.
    path.write_text("model name : bf16\nflags : avx2 avx512_bf16_not\n")
    assert "none of the instructions avx512_bf16, amx_bf16, bf16" in str(why_no_bfloat16(path))


def test_where_nothing_is_told_nothing_is_assumed(tmp_path):
    assert "cannot be read" in str(why_no_bfloat16(tmp_path / "absent"))
