import json
from statistics import mean, stdev

import numpy as np
import pytest
from fake_experiments import SOURCE, TARGET, FakeExperiments
from scipy.stats import wilcoxon

from nnunet_attention.cli import main
from nnunet_attention.evaluation.statistics.repeats import Layout, compare_repeats
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.output import file_name_of
from nnunet_attention.nnunet.seeds import VARIABLE as SEED_VARIABLE

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


def test_from_an_empty_folder_no_workers_of_augmentation_do_not_stop_the_planning(
    fake, tmp_path, monkeypatch
):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    plans = fake.folders.plans(TARGET, "nnUNetPlans")
    assert not plans.exists()
    out = str(tmp_path / "out")
    assert main(["experiment", "capacity", "-d", "902", *BOTH, "-f", "0", "-o", out]) == 0
    assert plans.is_file()


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


def pairs_of_cases(fake: FakeExperiments, path) -> dict[str, str]:
    """Write a file of groups: five patients with two images each, not beside each other."""
    groups = {case: f"patient {number % 5}" for number, case in enumerate(fake.cases)}
    rows = [f"{case},{group}" for case, group in groups.items()]
    path.write_text("\n".join(["case,group", *rows]))
    return groups


def group_means(values: dict[str, float], groups: dict[str, str]) -> list[float]:
    """The mean of each group, in the order of their names."""
    return [
        mean(value for case, value in values.items() if groups[case] == name)
        for name in sorted({groups[case] for case in values})
    ]


@pytest.mark.slow
def test_training_size_tears_no_patient_and_counts_patients(fake, tmp_path):
    out = tmp_path / "out"
    groups = pairs_of_cases(fake, tmp_path / "groups.csv")
    options = ["-f", "1", "--groups", str(tmp_path / "groups.csv"), "-o", str(out)]
    missed = [0, 1, 2, 1, 3, 0, 2, 1, 3, 1]
    fake.lay_ready("TrainerB__nnUNetPlans", missed)
    assert main(["experiment", "training-size", "-d", "902", *BOTH, *options]) == 0
    derived = "Dataset900_TargetTrainingSize1"
    for dataset in (TARGET, derived):
        for split in json.loads(fake.folders.splits(dataset).read_text()):
            train, val = ({groups[case] for case in split[part]} for part in ("train", "val"))
            assert not train & val
    small = json.loads(fake.folders.splits(derived).read_text())[1]
    assert [len(small["train"]), len(small["val"])] == [2, 8]
    found = results(out)[f"{derived} fold 1", "TrainerB"]["dice"]
    numbers = {case: fake.cases.index(case) for case in small["val"]}
    second = {case: fake.dice(n, missed[n]) for case, n in numbers.items()}
    first = {case: fake.dice(n, 2) for case, n in numbers.items()}
    assert found["n"] == 4
    assert found["mean"] == pytest.approx(mean(group_means(second, groups)))
    differences = [
        mine - theirs
        for mine, theirs in zip(
            group_means(second, groups), group_means(first, groups), strict=True
        )
    ]
    assert found["against_baseline"]["p_value"] == pytest.approx(wilcoxon(differences).pvalue)
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "over groups, each by the mean of its cases" in table
    assert "| 4 (8) |" in table


def test_splits_that_tear_patients_apart_are_refused_or_kept(fake, tmp_path, capsys):
    pairs_of_cases(fake, tmp_path / "groups.csv")
    options = ["-f", "0", "--groups", str(tmp_path / "groups.csv"), "-o", str(tmp_path / "out")]
    command = ["experiment", "training-size", "-d", "902", *BOTH, *options]
    path = fake.folders.splits(TARGET)
    path.parent.mkdir()
    torn = [{"train": fake.cases[1:], "val": fake.cases[:1]}]
    path.write_text(json.dumps(torn))
    assert main(command) == 1
    assert f"{path} tears 1 of 5 groups apart, such as patient 0" in capsys.readouterr().err
    assert fake.journals() == {}
    assert main([*command, "--keep-splits", "--dry-run"]) == 0
    assert "kept as it is" in capsys.readouterr().err
    assert main([*command, "--keep-splits"]) == 0


@pytest.mark.slow
def test_repeats_are_trained_in_results_of_their_own_and_compared_over_trainings(
    fake, tmp_path, capsys
):
    out = tmp_path / "out"
    missed = {
        ("TrainerA", 1): [2] * 10,
        ("TrainerA", 2): [3, 2] * 5,
        ("TrainerB", 1): [1] * 10,
        ("TrainerB", 2): [1, 0] * 5,
    }
    for (trainer, repeat), slices in missed.items():
        if repeat > 1:
            fake.lay_ready(f"repeat_{repeat}/{trainer}", slices)
    command = ["experiment", "capacity", "-d", "902", *BOTH, "-o", str(out), "--repeats", "2"]
    assert main(command) == 0
    later = fake.folders.of_repeat(2).results / TARGET
    for trainer in ("TrainerA", "TrainerB"):
        folds = (later / f"{trainer}__nnUNetPlans__3d_fullres").glob(
            "fold_*/validation/summary.json"
        )
        assert len(list(folds)) == 5
    found = results(out)[TARGET, "TrainerB"]["dice"]
    dice = np.array(
        [
            [[fake.dice(number, missed[trainer, repeat][number]) for number in range(10)]
             for repeat in (1, 2)]
            for trainer in ("TrainerA", "TrainerB")
        ]
    )  # fmt: skip
    assert found["mean"] == pytest.approx(dice[1].mean())
    assert found["trainings"]["means"] == pytest.approx(dice[1].mean(axis=1))
    assert found["trainings"]["sd"] == pytest.approx(dice[1].mean(axis=1).std(ddof=1))
    against = found["against_baseline"]
    assert against["mean_difference"] == pytest.approx(dice[1].mean() - dice[0].mean())
    splits = json.loads(fake.folders.splits(TARGET).read_text())
    fold_of = {case: fold for fold, split in enumerate(splits) for case in split["val"]}
    layout = Layout(np.array([fold_of[case] for case in fake.cases]))
    expected = compare_repeats(dice[1], dice[0], None, layout, resamples=0).estimate
    assert against["p_value"] == pytest.approx(expected.p_value)
    assert against["trainings"]["standard_error"] == pytest.approx(expected.standard_error)
    said = " ".join(capsys.readouterr().out.split())
    assert "over cases, of means over 2 trainings" in said
    assert "t test over trainings and cases" in said
    assert "SD between the means of trainings (between cases)" in said
    journals = fake.journals()
    assert main(command) == 0
    assert fake.journals() == journals


@pytest.mark.slow
def test_each_transfer_is_repeated_from_its_own_pre_training(fake, tmp_path, monkeypatch):
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    fake.lay_ready("TrainerA__nnUNetPlansFor902", [3] * 10)
    fake.lay_ready("repeat_2/TrainerA__nnUNetPlansFor902", [2] * 10)
    out = tmp_path / "out"
    command = ["experiment", "transfer", "-d", "901", "902", *BOTH, "-f", "0", "-o", str(out)]
    options = ["--repeats", "2", "--seed", "5", "--group-by", "case_.([0-9])"]
    assert main([*command, *options]) == 0
    second = fake.folders.of_repeat(2)
    fold = second.fold(TARGET, "TrainerB", "nnUNetPlansFrom901", "3d_fullres", "0")
    begun = (fold / "journal.txt").read_text().splitlines()[0]
    weights = second.fold(SOURCE, "TrainerB", "nnUNetPlansFor902", "3d_fullres", "all")
    assert f"-pretrained_weights {weights / 'checkpoint_final.pth'}" in begun
    validated = json.loads(fake.folders.splits(TARGET).read_text())[0]["val"]
    numbers = [fake.cases.index(case) for case in validated]
    before = results(out)["before", "TrainerA"]["dice"]
    means = [mean(fake.dice(number, missed) for number in numbers) for missed in (3, 2)]
    assert before["trainings"]["means"] == pytest.approx(means)
    stage = out / "stages" / file_name_of("fine-tune TrainerB, repeat 2")
    seeds = json.loads((stage / "manifest.json").read_text())["seeds"]
    assert seeds["training by this package's trainers"] == "6"
    journals = fake.journals()
    assert main([*command, *options]) == 0
    assert fake.journals() == journals


def test_the_list_names_the_folders_of_repeats(fake, capsys):
    arguments = ["transfer", "-d", "901", "902", "-f", "0", "-device", "cpu", "--dry-run"]
    assert main(["experiment", *arguments, "--repeats", "2"]) == 0
    said = capsys.readouterr().out
    place = fake.folders.of_repeat(2).results
    assert f"nnUNet_results={place} nnUNetv2_predict" in said
    assert f"nnUNet_results={place} nnUNetv2_train {TARGET} 3d_fullres 0 -tr AttentionU" in said
    assert "fine-tune Attention U-Net, repeat 2" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep-splits"], "--keep-splits would be ignored without --groups or --group-by"),
        (["--group-by", "(case)"], "all 10 cases are in one group, case"),
        (["--groups", "absent.csv"], "--groups absent.csv: there is no such file"),
        (["--group-by", "(c)", "-f", "all"], "--group-by would be ignored with -f all"),
    ],
)
def test_groups_that_cannot_be_used_are_told(fake, capsys, arguments, said):
    assert main(["experiment", "capacity", "-d", "902", *BOTH, *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(fake.folders.results.iterdir()) == []


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
    ("where", "said"),
    [([], "kept; continue with"), (["--slurm"], "the jobs keep running; watch them again")],
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
        (["transfer", "-d", "901", "902", "-f", "all"], "leaves no cases to test on"),
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
