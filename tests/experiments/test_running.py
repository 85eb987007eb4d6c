import json
import os

import pytest
from experiments_folders import SOURCE, TARGET, plan
from fake_experiments import TARGET as FAKE_TARGET
from fake_experiments import FakeExperiments

from nnunet_attention import experiments
from nnunet_attention.crossval import Outcome
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments import StageFailedError, default_output, lay_out, run_list

needs_scripts = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")
FAKE_MODELS = (("TrainerA", "nnUNetPlans"), ("TrainerB", "nnUNetPlans"))


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeExperiments:
    """This process's nnU-Net; the first trainer misses more slices than the second."""
    made = FakeExperiments(tmp_path / "nnunet")
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    made.lay_ready("TrainerA", [2] * 10)
    made.lay_ready("TrainerB", [1] * 10)
    return made


@needs_scripts
def test_an_experiment_ends_in_a_written_table(fake, tmp_path):
    stages = []
    result = experiments.run(
        "capacity",
        plan(FAKE_TARGET, models=FAKE_MODELS, folds=("0",), processes=1),
        output=tmp_path / "out",
        count_parameters=lambda trainer, *rest: {"TrainerA": 10, "TrainerB": 12}[trainer],
        on_stage=lambda *told: stages.append(told),
    )
    assert stages == [(1, 1, "trainings")]
    assert sorted(path.name for path in result.files) == ["table.json", "table.md", "table.tex"]
    record = json.loads((tmp_path / "out" / "table.json").read_text())
    parameters = {found["method"]: found["parameters"] for found in record["results"]}
    assert parameters == {"TrainerA": 10, "TrainerB": 12}


@needs_scripts
def test_a_stage_that_fails_is_raised_with_its_outcome(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAILURE", "-tr TrainerB")
    wanted = plan(FAKE_TARGET, models=FAKE_MODELS, folds=("0",), processes=1)
    with pytest.raises(StageFailedError, match=r"stage trainings: .*1 step\(s\) failed") as caught:
        experiments.run("capacity", wanted, output=tmp_path / "out")
    assert "TrainerB" in next(iter(caught.value.outcome.failed))
    assert caught.value.output == tmp_path / "out" / "stages" / "trainings"
    assert not (tmp_path / "out" / "table.json").exists()
    monkeypatch.delenv("FAKE_FAILURE")
    experiments.run("capacity", wanted, output=tmp_path / "out")
    assert (tmp_path / "out" / "table.json").is_file()


def test_a_failure_names_what_was_left(tmp_path):
    outcome = Outcome(done=["a"], failed={"b": "b failed\n    its log"}, left=["c", "d"])
    said = str(StageFailedError("pretrain", outcome, tmp_path))
    assert said.startswith("stage pretrain: b failed. 1 step(s) failed (not run as a result: c, d)")
    assert "\n" not in said


def test_unknown_experiments_and_idle_options_are_refused(folders, tmp_path):
    with pytest.raises(CommandError, match="ablation is not an experiment; choose from capacity"):
        lay_out("ablation", plan(TARGET), folders, tmp_path)
    with pytest.raises(CommandError, match="--derived-id would be ignored by transfer"):
        lay_out("transfer", plan(SOURCE, TARGET), folders, tmp_path, derived_number=7)


def test_the_folder_is_named_by_experiment_and_data_sets(folders):
    place = default_output("transfer", plan(SOURCE, TARGET), folders)
    assert place == folders.results / "experiments" / "transfer_901_902"


def test_the_run_list_has_stages_that_are_not_done_with_what_is_known(folders, tmp_path):
    experiment = lay_out("training-size", plan(TARGET, folds=("0",)), folders, tmp_path)
    missing = dict(run_list(experiment, folders))
    derived = "Dataset900_TargetTrainingSize0"
    assert list(missing) == [f"derive {derived}", "trainings Target"]
    # Before it is derived, its folds are listed as they will be begun.
    assert missing["trainings Target"] == [
        f"nnUNetv2_train {derived} 3d_fullres {fold} -tr {trainer} -p nnUNetPlans -device cpu"
        for fold in (0, 1)
        for trainer in ("nnUNetTrainer", "AttentionUNetTrainer")
    ]
    experiment.stages[1].do(tmp_path / "log")
    assert f"derive {derived}" not in dict(run_list(experiment, folders))
