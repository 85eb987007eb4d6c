import json
from statistics import mean, stdev

import pytest
from fake_experiments import SOURCE, TARGET, FakeExperiments

from nnunet_attention.cli import main
from nnunet_attention.jobs.lock import Lock

BOTH = ("-tr", "TrainerA", "TrainerB", "-device", "cpu", "-np", "1")


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeExperiments:
    """Also this process's own nnU-Net; the first trainer misses more slices than the second."""
    made = FakeExperiments(tmp_path)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    made.lay_ready("TrainerA", [2] * 10)
    made.lay_ready("TrainerB", [1] * 10)
    return made


def results(folder) -> dict[tuple[str, str], dict]:
    """By setting and method: the numbers of the label `organ`."""
    record = json.loads((folder / "table.json").read_text())
    return {(one["setting"], one["method"]): one["labels"]["organ"] for one in record["results"]}


def trainings(fake: FakeExperiments) -> list[str]:
    """Model and fold of everything that was trained once, from its beginning."""
    for fold, lines in fake.journals().items():
        assert sum(line == "trained" for line in lines) == 1, fold
    return list(fake.journals())


def test_capacity_compares_trainers_on_the_same_folds(fake, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["experiment", "capacity", "-d", "902", *BOTH, "-f", "0", "1", "-o", str(out)]) == 0
    splits = json.loads(fake.folders.splits(TARGET).read_text())
    validated = [fake.cases.index(case) for fold in splits[:2] for case in fold["val"]]
    found = results(out)
    dice = [fake.dice(number, 2) for number in validated]
    assert found[TARGET, "TrainerA"]["dice"]["mean"] == pytest.approx(mean(dice))
    assert found[TARGET, "TrainerA"]["dice"]["sd"] == pytest.approx(stdev(dice))
    assert found[TARGET, "TrainerA"]["precision"]["mean"] == 1
    recall = [(fake.height(number) - 1) / fake.height(number) for number in validated]
    assert found[TARGET, "TrainerB"]["recall"]["mean"] == pytest.approx(mean(recall))
    assert 0 < found[TARGET, "TrainerB"]["assd_mm"]["mean"] < 1
    against = found[TARGET, "TrainerB"]["dice"]["against_baseline"]
    assert (against["wins"], against["n"]) == (4, 4)
    assert "TrainerB" in capsys.readouterr().out
    assert (out / "table.md").is_file()
    assert (out / "table.tex").is_file()


def test_by_default_the_folds_are_those_of_the_splits(fake, tmp_path):
    path = fake.folders.splits(TARGET)
    path.parent.mkdir()
    first, second = fake.cases[:4], fake.cases[4:]
    splits = [{"train": second, "val": first}, {"train": first, "val": second}]
    path.write_text(json.dumps(splits))
    out = tmp_path / "out"
    assert main(["experiment", "capacity", "-d", "902", *BOTH, "-o", str(out)]) == 0
    assert sorted(name.rpartition("/")[2] for name in trainings(fake)) == sorted(
        ["fold_0", "fold_1"] * 2
    )
    assert results(out)[TARGET, "TrainerA"]["dice"]["n"] == 10


def test_finished_experiment_only_writes_its_table_again(fake, tmp_path):
    out = tmp_path / "out"
    command = ["experiment", "capacity", "-d", "902", *BOTH, "-f", "0", "-o", str(out)]
    assert main(command) == 0
    before = fake.journals()
    (out / "table.json").unlink()
    assert main(command) == 0
    assert fake.journals() == before
    assert (out / "table.json").is_file()


def test_training_size_swaps_a_fold_in_a_data_set_of_its_own(fake, tmp_path):
    out = tmp_path / "out"
    assert main(["experiment", "training-size", "-d", "902", *BOTH, "-f", "3", "-o", str(out)]) == 0
    folders = fake.folders
    (derived,) = (path.name for path in folders.preprocessed.glob("Dataset9*TrainingSize3"))
    assert derived == "Dataset900_TargetTrainingSize3"
    original = json.loads(folders.splits(TARGET).read_text())[3]
    large, small = json.loads(folders.splits(derived).read_text())
    assert large == original
    assert small == {"train": original["val"], "val": original["train"]}
    assert folders.references(derived).is_symlink()
    assert folders.data(derived, "nnUNetPlans_3d_fullres").is_symlink()
    plans = json.loads(folders.plans(derived, "nnUNetPlans").read_text())
    assert plans["dataset_name"] == derived
    assert not (folders.results / TARGET).exists()
    record = json.loads((out / "table.json").read_text())
    assert [one["setting_title"] for one in record["results"]] == ["8/2", "8/2", "2/8", "2/8"]
    found = results(out)
    dice = [fake.dice(fake.cases.index(case), 1) for case in original["train"]]
    assert found[f"{derived} fold 1", "TrainerB"]["dice"]["mean"] == pytest.approx(mean(dice))
    assert found[f"{derived} fold 1", "TrainerB"]["dice"]["n"] == 8
    assert "| TrainerA (8/2) |" in (out / "table.md").read_text(encoding="utf-8")


def test_users_own_files_stay_and_the_derived_data_set_is_found_again(fake, tmp_path):
    out = ["-o", str(tmp_path / "out")]
    command = ["experiment", "training-size", "-d", "902", *BOTH, *out, "--derived-id", "77"]
    folder = fake.folders.dataset(TARGET)
    assert main(["crossval", "-d", "902", *BOTH, "-f", "0", "--no-leaderboard"]) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(command) == 0
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert fake.folders.dataset("Dataset077_TargetTrainingSize0").is_dir()
    journals = fake.journals()
    assert main(command[:-2]) == 0
    assert fake.journals() == journals


def test_taken_number_is_refused(fake, tmp_path, capsys):
    command = ["experiment", "training-size", "-d", "902", *BOTH, "--derived-id", "901"]
    assert main(command) == 1
    assert f"--derived-id 901: taken by {fake.folders.raw / SOURCE}" in capsys.readouterr().err


def test_original_that_changed_is_refused_by_name(fake, tmp_path, capsys):
    command = ["experiment", "training-size", "-d", "902", *BOTH, "-o", str(tmp_path / "out")]
    assert main(command) == 0
    path = fake.folders.splits(TARGET)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content[::-1]))
    assert main(command) == 1
    assert "are no longer those" in capsys.readouterr().err
    path.write_text(json.dumps(content))
    path = fake.folders.plans(TARGET, "nnUNetPlans")
    content = json.loads(path.read_text())
    content["configurations"]["3d_fullres"]["patch_size"] = [8, 8, 8]
    path.write_text(json.dumps(content))
    assert main(command) == 1
    assert "patch_size was [4, 8, 16], is [8, 8, 8]" in capsys.readouterr().err


def test_transfer_tests_the_same_cases_before_after_and_from_scratch(fake, tmp_path):
    fake.lay_ready("TrainerA__nnUNetPlansFor902", [3] * 10)
    fake.lay_ready("TrainerB__nnUNetPlansFrom901", [0, 1] * 5)
    out = tmp_path / "out"
    command = ["experiment", "transfer", "-d", "901", "902", *BOTH, "-f", "0", "1", "-o", str(out)]
    assert main(command) == 0
    splits = json.loads(fake.folders.splits(TARGET).read_text())
    numbers = [fake.cases.index(case) for fold in splits[:2] for case in fold["val"]]
    found = results(out)
    expected = {
        ("before", "TrainerA"): [3] * 10,
        ("before", "TrainerB"): [1] * 10,
        ("after", "TrainerA"): [2] * 10,
        ("after", "TrainerB"): [0, 1] * 5,
        ("scratch", "TrainerA"): [2] * 10,
        ("scratch", "TrainerB"): [1] * 10,
    }
    assert list(found) == list(expected)
    for key, missed in expected.items():
        dice = [fake.dice(number, missed[number]) for number in numbers]
        assert found[key]["dice"]["mean"] == pytest.approx(mean(dice)), key
    journals = fake.journals()
    tuned = journals["TrainerB__nnUNetPlansFrom901__3d_fullres/fold_1"][0]
    weights = fake.folders.fold(SOURCE, "TrainerB", "nnUNetPlansFor902", "3d_fullres", "all")
    assert f"-pretrained_weights {weights / 'checkpoint_final.pth'}" in tuned
    scratch = journals["TrainerB__nnUNetPlans__3d_fullres/fold_1"][0]
    assert "-pretrained_weights" not in scratch
    plans = json.loads(fake.folders.plans(SOURCE, "nnUNetPlansFor902").read_text())
    assert plans["configurations"]["3d_fullres"]["data_identifier"].startswith("nnUNetPlansFor902")
    assert main(command) == 0
    assert fake.journals() == journals, "nothing is trained twice"


def test_interrupted_prediction_is_made_anew(fake, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    command = ["experiment", "transfer", "-d", "901", "902", *BOTH, "-f", "0", "-o", str(out)]
    monkeypatch.setenv("FAKE_FAILURE", "nnUNetv2_predict")
    assert main(command) == 1
    assert "nnUNetv2_predict failed with exit code 1" in capsys.readouterr().err
    assert not list((out / "before").rglob("*.nii.gz"))
    assert not list((out / "before").rglob("*.part"))


def test_failed_training_is_told_and_the_next_call_goes_on(fake, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    command = ["experiment", "capacity", "-d", "902", *BOTH, "-f", "0", "-o", str(out)]
    monkeypatch.setenv("FAKE_FAILURE", "-tr TrainerB")
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "RuntimeError: made to fail" in said
    assert "nnunet-attention experiment: " in said
    assert not (out / "table.json").exists()
    monkeypatch.delenv("FAKE_FAILURE")
    assert main(command) == 0
    assert len(trainings(fake)) == 2


@pytest.mark.parametrize(
    ("where", "said"), [([], "kept, go on with"), (["--slurm"], "the jobs go on; watch them again")]
)
def test_an_interrupted_experiment_says_how_to_go_on(fake, monkeypatch, capsys, where, said):
    def run(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnunet_attention.experiments.run", run)
    assert main(["experiment", "capacity", "-d", "902", *BOTH, *where]) == 130
    assert said in capsys.readouterr().err


def test_data_sets_of_other_labels_are_refused_before_anything_is_done(fake, capsys):
    path = fake.folders.raw_dataset(TARGET) / "dataset.json"
    described = json.loads(path.read_text())
    described["labels"] = {"background": 0, "tumour": 1}
    path.write_text(json.dumps(described))
    assert main(["experiment", "transfer", "-d", "901", "902", *BOTH]) == 1
    assert "differ: labels are" in capsys.readouterr().err
    assert list(fake.folders.preprocessed.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transfer", "-d", "901"], "transfer needs two data sets"),
        (["transfer", "-d", "901", "902", "-f", "all"], "no cases left to test on"),
        (["training-size", "-d", "901", "-f", "0", "1"], "takes one fold"),
        (["training-size", "-d", "901", "902", "--derived-id", "7"], "for a single data set"),
        (["transfer", "-d", "901", "902", "-c", "3d_cascade_fullres"], "a cascade needs all folds"),
        (["capacity", "-d", "555"], "no data set has"),
        (["capacity", "-d", "902", "--derived-id", "7"], "--derived-id would be ignored by cap"),
        (["capacity", "-d", "902", "--partition", "gpu"], "--partition would be ignored without"),
    ],
)
def test_what_makes_no_experiment_is_told(fake, capsys, arguments, said):
    assert main(["experiment", *arguments, *BOTH]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [
        (
            ["capacity", "-d", "902"],
            ["nnUNetv2_extract_fingerprint -d 902", "-tr WideUNetTrainer -p nnUNetPlans"],
        ),
        (
            ["training-size", "-d", "902"],
            [
                "link Dataset900_TargetTrainingSize0 to the data of Dataset902_Target",
                "nnUNetv2_train Dataset900_TargetTrainingSize0 3d_fullres 1 -tr nnUNetTrainer",
            ],
        ),
        (
            ["transfer", "-d", "901", "902"],
            [
                "nnUNetv2_move_plans_between_datasets -s Dataset902_Target -t Dataset901_Tiny",
                "nnUNetv2_train Dataset901_Tiny 3d_fullres all -tr AttentionUNetTrainer",
                "-f all -npp 3 -nps 3",
                "-pretrained_weights",
            ],
        ),
    ],
)
def test_dry_run_lists_all_stages_and_does_nothing(fake, capsys, arguments, commands):
    assert main(["experiment", *arguments, "-device", "cpu", "--dry-run"]) == 0
    said = capsys.readouterr().out
    for command in commands:
        assert command in said
    assert "table.md" in said
    assert list(fake.folders.preprocessed.iterdir()) == []
    assert list(fake.folders.results.iterdir()) == []


def test_second_launcher_of_an_experiment_is_refused(fake, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with Lock(out / ".lock", str(out)).held():
        assert main(["experiment", "capacity", "-d", "902", *BOTH, "-o", str(out)]) == 1
    assert "is in use by process" in capsys.readouterr().err
