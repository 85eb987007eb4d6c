import pytest
from fake_nnunet import nnunet, plan

from nnunet_attention.allocator import KEEPING
from nnunet_attention.crossval import FoldStep, missing_steps
from nnunet_attention.jobs.local import command_environment, devices

__all__ = ["nnunet"]  # the fixture


@pytest.fixture
def prepared(nnunet):
    nnunet.prepare()
    return nnunet


def fold_environments(prepared, **changes) -> list[dict[str, str]]:
    """What each fold's command gets beside what all commands get."""
    steps = missing_steps(plan(**changes), prepared.folders)
    return [own_variables(step) for step in steps if isinstance(step, FoldStep)]


def own_variables(step) -> dict[str, str]:
    """A step's variables but for nnU-Net's folders."""
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    return {name: value for name, value in step.environment().items() if name not in folders}


def test_folds_on_a_cpu_keep_freed_memory_whatever_their_trainer(prepared, monkeypatch):
    for name in KEEPING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert [one.variables for one in devices("cpu", at_once=2)] == [
        (("PYTHON_CPU_COUNT", "3"),)
    ] * 2
    assert devices("mps")[0].variables == devices("cpu")[0].variables == ()
    assert fold_environments(prepared, device="cpu") == [KEEPING] * 4
    assert fold_environments(prepared, device="mps") == [{}] * 4
    monkeypatch.setenv("NNUNET_ATTENTION_KEEP_MEMORY", "0")
    assert fold_environments(prepared, device="cpu") == [{}] * 4


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_workers_of_augmentation_reach_trainings_and_not_the_planning(
    nnunet, device, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    assert "nnUNet_n_proc_DA" not in command_environment()
    environments = fold_environments(nnunet, device=device)
    assert [variables["nnUNet_n_proc_DA"] for variables in environments] == ["0"] * 4
    others = [
        step
        for step in missing_steps(plan(device=device), nnunet.folders)
        if not isinstance(step, FoldStep)
    ]
    assert [own_variables(step) for step in others] == [{}] * 6
    monkeypatch.setenv("nnUNet_n_proc_DA", "4")
    assert command_environment()["nnUNet_n_proc_DA"] == "4"
    for variables in fold_environments(nnunet, device=device):
        assert "nnUNet_n_proc_DA" not in variables
