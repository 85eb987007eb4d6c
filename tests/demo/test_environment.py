import os

import pytest

from nnunet_attention import doorway
from nnunet_attention.demo.environment import demo_environment, environment
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.jobs.local import command_environment
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE, short_schedule
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE


@pytest.fixture
def folders(tmp_path) -> Folders:
    return Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")


def test_the_environment_never_holds_the_users_own_folders(folders, tmp_path, monkeypatch):
    users = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_raw_data_base")
    for name in (*users, "RESULTS_FOLDER", "nnUNet_extTrainer"):
        monkeypatch.setenv(name, "/precious")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    variables = environment(folders, DemoSettings())
    assert "/precious" not in variables.values()
    assert all(variables[name].startswith(str(tmp_path)) for name in users[:3])
    assert variables[doorway.SEARCH_PATH_VARIABLE] == doorway.directory()
    assert variables["nnUNet_wandb_enabled"] == "0"


def test_the_environment_keeps_compilation_as_the_user_has_it(folders, monkeypatch):
    monkeypatch.delenv("nnUNet_compile", raising=False)
    assert "nnUNet_compile" not in environment(folders, DemoSettings())
    monkeypatch.setenv("nnUNet_compile", "f")
    assert environment(folders, DemoSettings())["nnUNet_compile"] == "f"


@pytest.mark.parametrize(("users", "demos"), [(None, "2"), ("7", "2"), ("0", "0")])
def test_no_workers_of_augmentation_are_a_users_choice_for_trainings_alone(
    folders, monkeypatch, users, demos
):
    if users is None:
        monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
    else:
        monkeypatch.setenv("nnUNet_n_proc_DA", users)
    with demo_environment(folders, DemoSettings()):
        assert os.environ[WORKERS_VARIABLE] == demos
        # What plans and preprocesses.
        assert command_environment().get("nnUNet_n_proc_DA") != "0"


def test_the_environment_holds_the_length_of_the_training(folders):
    variables = environment(folders, DemoSettings(epochs=7, iterations=9))
    assert short_schedule(variables[SCHEDULE_VARIABLE])[:2] == (7, 9)


@pytest.mark.parametrize(("data", "processes"), [(None, "1"), ("/data/Task07_Tiny", "2")])
def test_pools_are_small(folders, data, processes):
    assert environment(folders, DemoSettings(data=data))["nnUNet_def_n_proc"] == processes


def test_this_process_gets_its_own_environment_back(folders, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/precious")
    monkeypatch.setenv("RESULTS_FOLDER", "/old")
    monkeypatch.delenv(SCHEDULE_VARIABLE, raising=False)
    before = dict(os.environ)
    with demo_environment(folders, DemoSettings()):
        meanwhile = dict(os.environ)
    assert meanwhile["nnUNet_raw"] == str(folders.raw)
    assert "RESULTS_FOLDER" not in meanwhile
    assert dict(os.environ) == before


def interrupt():
    raise KeyboardInterrupt


def test_an_interruption_gives_the_environment_back(folders):
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt), demo_environment(folders, DemoSettings()):
        interrupt()
    assert dict(os.environ) == before
