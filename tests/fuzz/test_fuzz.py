"""Damaged and hostile files end in one clear line; nothing is executed, nothing is half written."""

import os
import subprocess
import sys
from contextlib import suppress
from importlib import import_module

import pytest
from fuzz import harness
from fuzz.example import CANARY
from fuzz.harness import Fuzzer, counted

pytestmark = pytest.mark.skipif(os.name == "nt", reason="time and memory are bounded on Unix only")


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    return Fuzzer(tmp_path_factory.mktemp("fuzz"), seed=0)


# Without it the next one shows nothing, and other tests give each command whole files too.
@pytest.mark.slow
def test_whole_files_pass(fuzzer):
    fuzzer.check_undamaged()


@pytest.mark.slow
def test_sixty_damaged_files_do_no_harm(fuzzer):
    assert counted(fuzzer.run(60)) == []


def refuse(example) -> int:
    print("nnunet-attention: no", file=sys.stderr)
    print("nnunet-attention: and no", file=sys.stderr)
    return 1


def fail(example) -> int:
    raise KeyError("labels")


def import_what_a_file_names(example) -> int:
    import_module(CANARY)
    return 0


def look_for_what_a_file_names(example) -> int:
    with suppress(ImportError):
        import_module(f"json.{CANARY}")
    with suppress(OSError):
        (example.root / f"{CANARY}.json").read_bytes()
    return 0


def start_a_process(example) -> int:
    return subprocess.run(["true"], check=True).returncode


def remove_what_a_file_names(example) -> int:
    example.victim.rmdir()
    return 0


def write_in_part(example) -> int:
    print("nnunet-attention evaluate: no", file=sys.stderr)
    (example.out / "summary.json").write_text("{")
    return 1


def leave_a_file_behind(example) -> int:
    (example.out / ".summary.json.7.part").write_text("{")
    return 0


def write_into_the_source(example) -> int:
    next(example.set_up.rglob("b.nii.gz")).write_bytes(b"")
    return 0


def let_a_child_fail(example) -> int:
    os.write(2, b"Traceback (most recent call last):\n  in a worker\nKeyError: 1\n")
    return 0


@pytest.mark.parametrize(
    ("harm", "kinds"),
    [
        (refuse, {"not one line"}),
        (fail, {"KeyError"}),
        (import_what_a_file_names, {"executed"}),
        (look_for_what_a_file_names, set()),
        (start_a_process, {"executed"}),
        (remove_what_a_file_names, {"executed"}),
        (write_in_part, {"half written"}),
        (leave_a_file_behind, {"left behind"}),
        (write_into_the_source, {"source changed"}),
        (let_a_child_fail, {"traceback"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_harm_is_found_and_undone(harm, kinds, fuzzer, monkeypatch):
    example = fuzzer.example
    with monkeypatch.context() as patched:
        patched.setattr(harness, "main", lambda arguments: harm(example))
        failures = fuzzer.run(1)
    assert {failure.kind for failure in failures} == kinds
    with monkeypatch.context() as patched:
        patched.setattr(harness, "main", lambda arguments: 0)
        assert fuzzer.run(1) == []


def test_one_seed_gives_one_series_of_damages(fuzzer, tmp_path_factory, monkeypatch):
    # Files hold paths, and what is damaged depends on their size: a folder with as long a name.
    again = Fuzzer(tmp_path_factory.mktemp("more"), seed=0)
    assert len(str(again.example.root)) == len(str(fuzzer.example.root))
    # Ends each time without a word, which is a failure to be listed.
    monkeypatch.setattr(harness, "main", lambda arguments: 1)
    first, second = (
        [(one.number, one.damage, one.command) for one in each.run(40)] for each in (fuzzer, again)
    )
    assert first == second
    assert len({damage for _, damage, _ in first}) > 20
