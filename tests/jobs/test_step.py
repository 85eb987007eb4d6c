import pickle
import subprocess
import sys

import pytest
from made_up_steps import DeviceStep, MadeUpStep

MODULES = (
    *("adoption", "attempt", "launch", "leftovers", "local", "lock", "manifest", "output"),
    *("process", "slurm", "step", "view", "work"),
)


def test_what_runs_steps_knows_neither_cross_validation_nor_torch():
    imports = "; ".join(f"import nnunet_attention.jobs.{name}" for name in MODULES)
    code = (
        f"import sys; {imports};"
        "print([name for name in sys.modules if name.startswith('nnunet_attention.crossval')"
        " or name in ('torch', 'nnunetv2')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_step_says_by_default_that_it_may_be_ended_at_any_moment(tmp_path):
    step = MadeUpStep(tmp_path, "thing")
    notes = []
    assert step.is_safe_to_stop()
    assert step.stop_seconds == 0
    assert step.adoptable_commands() == ()
    assert step.cleared(notes.append) is step
    assert notes == []
    assert step.is_done()
    assert step.environment() == {}
    assert step.progress(0.0) is None
    assert (step.manner, step.remark, step.state_before) == ("", "", None)


def test_what_is_known_of_a_step_by_default_comes_from_its_place(tmp_path):
    step = MadeUpStep(tmp_path, "thing")
    assert step.mark == str(tmp_path / "thing")
    assert super(MadeUpStep, step).written_folders == (tmp_path / "thing",)


def test_a_step_travels_to_other_machines(tmp_path):
    step = DeviceStep(tmp_path, "thing", ("other",))
    assert pickle.loads(pickle.dumps(step)) == step


def test_a_step_without_a_command_must_do_something(tmp_path):
    with pytest.raises(NotImplementedError, match="thing has neither a command nor something"):
        MadeUpStep(tmp_path, "thing").do()
