import os

import pytest
from fake_nnunet import wait_for
from made_up_steps import DeviceStep, MadeUpStep

from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.local import LocalRunner, command_environment, devices
from nnunet_attention.jobs.lock import LockedError, Owner
from nnunet_attention.jobs.output import Output

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")


@pytest.mark.parametrize(
    ("visible", "num_gpus", "wanted"),
    [("0,2,3", 1, ["0", "2", "3"]), ("0,1,2,3,4", 2, ["0,1", "2,3"]), ("0,-1,2", 1, ["0"])],
)
def test_devices_are_those_of_cuda_visible_devices(visible, num_gpus, wanted, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = devices("cuda", num_gpus)
    assert [dict(one.variables)["CUDA_VISIBLE_DEVICES"] for one in found] == wanted


def test_too_few_gpus_are_refused_with_the_remedy(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(CommandError, match=r"2 GPUs are needed, but 1 found.*-device cpu"):
        devices("cuda", 2)


def test_devices_that_are_no_gpus_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert [device.variables for device in devices("cpu", at_once=2)] == [
        (("PYTHON_CPU_COUNT", "3"),)
    ] * 2
    assert [(device.name, device.variables) for device in devices("mps")] == [("mps", ())]


def test_the_environment_of_commands_has_their_output_in_time_and_in_utf_8(monkeypatch):
    monkeypatch.setenv("MADE_UP", "1")
    environment = command_environment()
    assert environment["MADE_UP"] == "1"
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["PYTHONIOENCODING"] == "utf-8"


@pytest.fixture
def start(install_command, tmp_path):
    """A function that starts what there is room for on two devices; all end on request."""
    for name in "abcde":
        install_command(
            name,
            "import os, pathlib, time\n"
            "print(os.environ['PYTHON_CPU_COUNT'] if 'MADE_UP' in os.environ else '-')\n"
            f"while not pathlib.Path({str(tmp_path / 'end')!r}).exists(): time.sleep(0.02)",
        )
    runner = LocalRunner(Output(tmp_path / "out"), devices("cpu", at_once=2))
    attempts = []

    def start(*steps):
        started = runner.start(steps)
        attempts.extend(started)
        return started

    yield start
    (tmp_path / "end").touch()
    for attempt in attempts:
        wait_for(lambda attempt=attempt: attempt.poll() is not None)


def names(attempts) -> list[str]:
    return [attempt.step.name for attempt in attempts]


def test_each_device_takes_one_step_and_one_other_step_runs_beside(start, tmp_path):
    on_devices = [DeviceStep(tmp_path, name) for name in "abc"]
    others = [MadeUpStep(tmp_path, name) for name in "de"]
    first = start(*on_devices, *others)
    assert names(first) == ["a", "b", "d"]
    assert start(on_devices[2], others[1]) == []
    (tmp_path / "end").touch()
    for attempt in first:
        wait_for(lambda attempt=attempt: attempt.poll() is not None)
    assert names(start(on_devices[2], others[1])) == ["c", "e"]


def test_steps_that_somebody_else_is_at_are_refused_before_any_is_begun(tmp_path, monkeypatch):
    runner = LocalRunner(Output(tmp_path / "out"), devices("cpu"))
    steps = [MadeUpStep(tmp_path, "a"), MadeUpStep(tmp_path, "b")]
    runner.check(steps)
    with steps[1].lock().held():
        monkeypatch.setattr(Owner, "is_gone", False)
        with pytest.raises(LockedError, match=f"b is in use by process {os.getpid()}"):
            runner.check(steps)


def test_only_what_could_begin_now_may_go_on_where_it_was_left(tmp_path):
    runner = LocalRunner(Output(tmp_path / "out"), devices("cpu"))
    assert runner.adopts(DeviceStep(tmp_path, "a"))
    assert not runner.adopts(DeviceStep(tmp_path, "a", ("b",)))
    assert not runner.adopts(MadeUpStep(tmp_path, "a"))
