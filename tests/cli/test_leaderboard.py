"""`nnunet-attention leaderboard` writes everything, or says in one line why not."""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from results_folders import write_folds, write_summary
from scipy import stats
from shared_data import ROOT, needs

from nnunet_attention.cli import main
from nnunet_attention.cli.leaderboard import known_parameters
from nnunet_attention.cli.shared_arguments import add_undefined, trained_models
from nnunet_attention.evaluation import DEFAULT_POLICY, POLICIES

REFERENCE = ROOT / "msd_cv_reference"
NAMES = {f"leaderboard.{ending}" for ending in ("json", "csv", "md", "tex", "html")}
CASES = {f"case_{n}": {"1": round(0.5 + n / 40, 3), "2": 0.4} for n in range(10)}
BETTER = {case: {"1": value["1"] + 0.1, "2": 0.5} for case, value in CASES.items()}


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """nnUNet_results with two trainers on one data set, two folds each."""
    folder = tmp_path / "results"
    monkeypatch.setenv("nnUNet_results", str(folder))
    for variable in ("nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    for trainer, cases in (("nnUNetTrainer", CASES), ("AttentionUNetTrainer", BETTER)):
        write_folds(folder / "Dataset001_One" / f"{trainer}__nnUNetPlans__3d_fullres", cases)
    return folder


def leaderboard(tmp_path, *more) -> list[str]:
    return [
        *("leaderboard", "-d", "1", "-tr", "nnUNetTrainer", "AttentionUNetTrainer"),
        *("-f", "0", "1", "-o", str(tmp_path / "out"), *more),
    ]


def test_everything_is_written_and_the_table_printed(results, tmp_path, capsys):
    assert main(leaderboard(tmp_path)) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == NAMES
    output = capsys.readouterr().out
    assert "AttentionUNetTrainer" in output
    assert "Ranks" in output
    assert f"wrote {tmp_path / 'out' / 'leaderboard.html'}" in output.replace("\n", "")
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    row = next(row for row in record["rows"] if row["label"] == "1")
    assert row["models"]["AttentionUNetTrainer"]["mean"] == pytest.approx(0.7125)
    assert row["comparisons"][0]["losses"] == 10


def test_published_results_stand_beside_the_models(results, tmp_path, capsys):
    file = tmp_path / "paper.csv"
    file.write_text("model,dataset,label,mean,sd,n\nPaper,One,1,0.63,0.08,10\n")
    assert main(leaderboard(tmp_path, "--published", str(file))) == 0
    assert "Beside published results" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    beside = {item["beside"]: item for item in record["published"]}
    values = np.array([value["1"] for value in CASES.values()])
    error = np.sqrt((values.var(ddof=1) + 0.08**2) / 10)
    probability = beside["nnUNetTrainer"]["false_claim_probability_at_correlation"]["0"]
    assert probability == pytest.approx(stats.t.sf((0.63 - values.mean()) / error, 9))
    assert beside["AttentionUNetTrainer"]["better"] == "AttentionUNetTrainer"


def test_published_results_that_fit_nowhere_stop_everything(results, tmp_path, capsys):
    file = tmp_path / "paper.csv"
    file.write_text("model,dataset,mean,sd,n\nPaper,7,0.63,0.08,10\n")
    assert main(leaderboard(tmp_path, "--published", str(file))) == 1
    assert "no data sets 7 are compared here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fold_all_is_called_so_in_the_table_of_cases(results, tmp_path):
    for trainer in ("nnUNetTrainer", "AttentionUNetTrainer"):
        model = results / "Dataset001_One" / f"{trainer}__nnUNetPlans__3d_fullres"
        write_summary(model / "fold_all", CASES)
    arguments = leaderboard(tmp_path)
    at = arguments.index("-f")
    assert main([*arguments[:at], "-f", "all", *arguments[at + 3 :]]) == 0
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        assert {row["fold"] for row in csv.DictReader(file)} == {"all"}
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert "trained on all cases" in record["methods"][0]


def test_flags_reach_the_result(results, tmp_path):
    arguments = ["--seed", "7", "--undefined", "reference-present", "--metrics", "iou", "dice"]
    assert main(leaderboard(tmp_path, *arguments)) == 0
    settings = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["settings"]
    assert (settings["seed"], settings["policy"]) == (7, "reference-present")
    assert settings["metrics"] == ["iou", "dice"]


def test_every_policy_can_be_chosen_and_the_default_is_the_same():
    parser = argparse.ArgumentParser()
    add_undefined(parser)
    (action,) = (action for action in parser._actions if action.dest == "undefined")
    assert set(action.choices) == set(POLICIES)
    assert action.default == DEFAULT_POLICY
    assert next(iter(POLICIES)) == DEFAULT_POLICY


def test_other_results_are_compared_too(results, tmp_path):
    others = {name: tmp_path / name for name in ("Paper", "Lab", "Web")}
    for folder in others.values():
        write_folds(folder / "Dataset001_One" / "3d_fullres", BETTER)
    paper, lab, web = (f"{name}={folder}" for name, folder in others.items())
    # Several after one flag, and a flag given twice.
    assert main(leaderboard(tmp_path, "--results", paper, lab, "--results", web)) == 0
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert record["models"] == ["nnUNetTrainer", "AttentionUNetTrainer", "Paper", "Lab", "Web"]


def test_training_logs_give_costs(results, tmp_path):
    fold = results / "Dataset001_One" / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    (fold / "training_log_2026_1_1_00_00_00.txt").write_text(
        "2026-01-01 10:00:00.0: Epoch 0 \n2026-01-01 11:00:00.0: Epoch time: 3600.0 s \n"
    )
    assert main(leaderboard(tmp_path)) == 0
    (cost,) = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["costs"]
    assert (cost["model"], cost["training_hours"]) == ("nnUNetTrainer", 1.0)


def test_missing_folds_are_an_error_unless_allowed(results, tmp_path, capsys):
    path = next(results.rglob("nnUNetTrainer__*/fold_1/validation/summary.json"))
    path.unlink()
    assert main(leaderboard(tmp_path)) == 1
    output = capsys.readouterr()
    assert f"1 fold(s) without results: {path}" in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert main(leaderboard(tmp_path, "--allow-incomplete")) == 0
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert record["missing"] == [str(path)]
    # Fold 0's five cases, for both models.
    assert {one["n"] for row in record["rows"] for one in row["models"].values()} == {5}
    page = (tmp_path / "out" / "leaderboard.html").read_text(encoding="utf-8")
    assert str(path) in page


def test_different_references_are_noted(results, tmp_path, capsys):
    path = next(results.rglob("nnUNetTrainer__*/fold_1/validation/summary.json"))
    summary = json.loads(path.read_text())
    values = summary["metric_per_case"][0]["metrics"]["2"]
    # Case 1, whose Dice of 0.4 is 400 voxels in common of 1000 each.
    values.update(FN=700, n_ref=1100, Dice=800 / 2100, IoU=400 / 1700)
    path.write_text(json.dumps(summary))
    assert main(leaderboard(tmp_path)) == 0
    told = "label 2: nnUNetTrainer with 1100 voxels, AttentionUNetTrainer with 1000 voxels"
    note = capsys.readouterr().err
    assert (
        "in 1 of 10 cases models were evaluated against different references (case case_1" in note
    )
    assert told in note


def write_splits(folder: Path, validated: list[list[str]]) -> None:
    (folder / "Dataset001_One").mkdir(parents=True)
    splits = [{"train": sorted(set(CASES) - set(val)), "val": val} for val in validated]
    (folder / "Dataset001_One" / "splits_final.json").write_text(json.dumps(splits))


def test_a_case_that_was_trained_on_gives_one_line_and_no_output(
    results, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    names = list(CASES)
    # As dealt, but case_0, which fold 0 has, was trained on there.
    write_splits(tmp_path / "preprocessed", [names[2::2], names[1::2]])
    assert main(leaderboard(tmp_path)) == 1
    output = capsys.readouterr()
    assert "holds 1 case(s) that fold 0 was trained on, such as case_0" in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folds_and_split_come_from_splits_final(results, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    names = list(CASES)
    write_splits(tmp_path / "preprocessed", [names[0::2], names[1::2]])
    arguments = leaderboard(tmp_path)
    at = arguments.index("-f")
    assert main([*arguments[:at], *arguments[at + 3 :]]) == 0
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert record["missing"] == []
    assert "a split of the project's own (2 folds)" in record["methods"][0]


FRAMES = {f"patient{n}_frame{k}": {"1": 0.5 + n / 40 + k / 100} for n in range(5) for k in range(2)}
BETTER_FRAMES = {
    case: {"1": round(value["1"] + (3 + int(case[7])) / 100, 3)} for case, value in FRAMES.items()
}


@pytest.fixture
def frames(tmp_path) -> list[str]:
    """Arguments for two models' results on two images of each of five patients."""
    for name, cases in (("A", FRAMES), ("B", BETTER_FRAMES)):
        write_folds(tmp_path / name / "Dataset001_One" / "3d_fullres", cases)
    named = [f"{name}={tmp_path / name}" for name in "AB"]
    output = str(tmp_path / "out")
    return ["leaderboard", "-d", "1", "-f", "0", "1", "-o", output, "--results", *named]


def p_value(output: Path) -> float:
    record = json.loads((output / "leaderboard.json").read_text())
    return record["rows"][0]["comparisons"][0]["p_value"]


def test_images_of_a_patient_are_one_by_file_or_by_name(frames, tmp_path, capsys):
    file = tmp_path / "groups.csv"
    # With a case of a fold that is not compared.
    lines = [f"{case},{case.split('_')[0]}" for case in [*FRAMES, "patient9_frame0"]]
    file.write_text("\n".join(["case,group", *lines]))
    assert main(frames) == 0
    # All of ten images differ in the same direction: 2 / 2^10; of five patients 2 / 2^5.
    assert p_value(tmp_path / "out") == pytest.approx(2 / 2**10)
    note = capsys.readouterr().err
    assert "Dataset001_One: names of cases look grouped" in note
    assert note.count("\n") == 1
    for option in (["--groups", str(file)], ["--group-by", r"(patient\d+)"]):
        assert main([*frames, *option]) == 0
        assert p_value(tmp_path / "out") == pytest.approx(2 / 2**5)
        assert capsys.readouterr().err == ""


def test_a_file_may_have_groups_for_each_data_set(frames, tmp_path):
    for name, cases in (("A", FRAMES), ("B", BETTER_FRAMES)):
        write_folds(tmp_path / name / "Dataset002_Two" / "3d_fullres", cases)
    file = tmp_path / "groups.csv"
    lines = [f"1,{case},{case.split('_')[0]}" for case in FRAMES]
    # In the second data set, whose cases are called alike, each image is of another patient.
    lines += [f"Dataset002_Two,{case},{case}" for case in FRAMES]
    file.write_text("\n".join(["dataset,case,group", *lines]))
    arguments = [*frames, "--groups", str(file)]
    arguments.insert(arguments.index("1") + 1, "2")
    assert main(arguments) == 0
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    found = {
        row["dataset"]: row["comparisons"][0]["p_value"]
        for row in record["rows"]
        if row["metric"] == "dice"
    }
    assert found == pytest.approx({"Dataset001_One": 2 / 2**5, "Dataset002_Two": 2 / 2**10})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group-by", "(x)", "--groups", "x.csv"], "--groups and --group-by both say"),
        (["--group-by", "(patient)"], "all 10 cases are in one group, patient"),
        (["--groups", "nowhere.csv"], "--groups nowhere.csv: there is no such file"),
    ],
)
def test_groups_that_cannot_be_used_give_one_line(options, message, frames, tmp_path, capsys):
    assert main([*frames, *options]) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def shifted(by: float) -> dict:
    return {case: {"1": round(0.5 + int(case[7]) / 40 + by, 3)} for case in FRAMES}


def test_folders_of_one_name_are_trainings_of_one_model(tmp_path, capsys):
    for name, by in (("A0", 0.01), ("A1", 0.03), ("A2", 0.05), ("B0", 0), ("B1", 0.005)):
        write_folds(tmp_path / name / "Dataset001_One" / "3d_fullres", shifted(by), folds=1)
    named = [f"{name[0]}={tmp_path / name}" for name in ("A0", "A1", "A2", "B0", "B1")]
    base = ["leaderboard", "-d", "1", "-f", "0", "-o", str(tmp_path / "out"), "--results"]
    assert main([*base, *named]) == 0
    # All cases of a training are shifted alike: Welch's t test on the trainings is all there is.
    welch = stats.ttest_ind([0.01, 0.03, 0.05], [0, 0.005], equal_var=False).pvalue
    assert p_value(tmp_path / "out") == pytest.approx(welch, rel=1e-6)
    assert "trainings: A 3, B 2" in " ".join(capsys.readouterr().out.split())
    with (tmp_path / "out" / "leaderboard.csv").open(newline="") as file:
        assert {(row["model"], row["repeat"]) for row in csv.DictReader(file)} == {
            *(("A", str(n)) for n in range(3)),
            *(("B", str(n)) for n in range(2)),
        }
    assert main([*base, *named[:2], *named[3:], "--paired-repeats"]) == 0
    paired = stats.ttest_rel([0.01, 0.03], [0, 0.005]).pvalue
    assert p_value(tmp_path / "out") == pytest.approx(paired, rel=1e-6)


def test_further_results_folders_hold_trainings_of_every_trainer(results, tmp_path, capsys):
    for trainer, by in (("nnUNetTrainer", 0.02), ("AttentionUNetTrainer", -0.03)):
        cases = {
            case: {label: round(dice + by, 3) for label, dice in labels.items()}
            for case, labels in (CASES if trainer == "nnUNetTrainer" else BETTER).items()
        }
        model = f"{trainer}__nnUNetPlans__3d_fullres"
        write_folds(tmp_path / "second" / "Dataset001_One" / model, cases)
    assert main(leaderboard(tmp_path, "--repeats", str(tmp_path / "second"))) == 0
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    row = next(row for row in record["rows"] if row["label"] == "2")
    assert row["models"]["nnUNetTrainer"]["trainings"]["means"] == pytest.approx([0.4, 0.42])
    assert row["models"]["AttentionUNetTrainer"]["mean"] == pytest.approx(0.485)
    shutil.rmtree(next((tmp_path / "second").rglob("nnUNetTrainer__*")))
    capsys.readouterr()
    assert main(leaderboard(tmp_path, "--repeats", str(tmp_path / "second"))) == 1
    assert "there is no such model" in capsys.readouterr().err


def truncate(results: Path) -> None:
    path = next(results.rglob("summary.json"))
    path.write_text(path.read_text()[:100])


def drop_a_case(results: Path) -> None:
    path = next(results.rglob("AttentionUNetTrainer__*/fold_0/validation/summary.json"))
    summary = json.loads(path.read_text())
    del summary["metric_per_case"][0]
    path.write_text(json.dumps(summary))


def repeat_a_fold(results: Path) -> None:
    one, other = sorted(results.rglob("AttentionUNetTrainer__*/fold_*/validation/summary.json"))
    other.write_text(one.read_text())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "summary.json cannot be read as JSON"),
        (drop_a_case, "different cases"),
        (repeat_a_fold, "folds must not overlap"),
    ],
)
def test_damaged_results_give_one_line_and_no_output(damage, message, results, tmp_path, capsys):
    damage(results)
    assert main(leaderboard(tmp_path)) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics", "dize"), "unknown metric 'dize'"),
        (("--metrics", "hd95_mm"), "no hd95_mm; measure them with --surface"),
        (("--results", "Paper"), "--results Paper: give NAME=DIR"),
        (("--results", "A=x", "A=x"), "given twice, but each training counts once"),
        (("--paired-repeats",), "every model was trained once"),
        (("--repeats", "nowhere"), "--repeats nowhere: there is no such folder"),
        (("-f", "0", "all"), "give fold numbers, or all by itself"),
        (("--surface",), "no reference segmentations of Dataset001_One"),
        (("-gt", "x"), "-gt would be ignored without --surface"),
        (("--tolerance", "3", "-np", "2"), "--tolerance, -np would be ignored without --surface"),
        (("--missing-distance", "0"), "--missing-distance would be ignored as neither assd_mm"),
        (("--surface", "--metrics", "dice"), "--surface would be ignored as --metrics has none"),
        (
            ("--surface", "--metrics", "assd_mm", "--tolerance", "3"),
            "--tolerance would be ignored as --metrics lacks nsd",
        ),
        (("--label-names", "nowhere"), "--label-names nowhere: there is no such folder"),
    ],
)
def test_bad_arguments_give_one_line_and_exit_code_1(arguments, message, results, tmp_path, capsys):
    assert main(leaderboard(tmp_path, *arguments)) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["far", "-1", "inf"])
def test_a_distance_is_a_number(text, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(leaderboard(tmp_path, "--missing-distance", text))
    assert f"{text} is not a distance in mm" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_named(results, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert main(leaderboard(tmp_path)) == 1
    assert "there is a file of this name" in capsys.readouterr().err


def test_plans_belong_to_a_trainer_or_to_all():
    assert trained_models(["A", "B__P3"], ["P1", "P2"]) == (
        ("A", "P1"),
        ("A", "P2"),
        ("B", "P3"),
    )


def test_parameters_are_unknown_without_plans_and_known_with(tmp_path, minimal_plans):
    plans, dataset = tmp_path / "plans.json", tmp_path / "dataset.json"
    assert known_parameters("nnUNetTrainer", plans, dataset, "3d_fullres") is None
    plans.write_text(json.dumps(minimal_plans))
    dataset.write_text(
        json.dumps({"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}})
    )
    plain = known_parameters("nnUNetTrainer", plans, dataset, "3d_fullres")
    gated = known_parameters("AttentionUNetTrainer", plans, dataset, "3d_fullres")
    assert 0 < plain < gated
    assert known_parameters("NoSuchTrainer", plans, dataset, "3d_fullres") is None


@pytest.mark.parametrize(
    ("trainer", "content", "reason"),
    [
        ("nnUNetTrainer", "", "plans.json cannot be read as JSON"),
        ("nnUNetTrainer", "{}", "KeyError"),
        ("NoSuchTrainer", None, ""),
    ],
)
def test_why_parameters_are_not_known_is_told_in_one_line(
    tmp_path, minimal_plans, capsys, trainer, content, reason
):
    plans, dataset = tmp_path / "plans.json", tmp_path / "dataset.json"
    plans.write_text(json.dumps(minimal_plans) if content is None else content)
    dataset.write_text('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}}')
    assert known_parameters(trainer, plans, dataset, "3d_fullres") is None
    told = capsys.readouterr().err
    assert told.startswith(f"cannot count the parameters of {tmp_path}: ")
    assert reason in told
    assert told.count("\n") == 1


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((1.0, 2.0, 3.0))
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def measuring(tmp_path, monkeypatch) -> list[str]:
    """The command; every prediction lies one slice of 3 mm above its reference."""
    folder = tmp_path / "results" / "Dataset001_One" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    reference = np.zeros((4, 5, 6))
    reference[1, 1:3, 1:4] = 1
    for fold in range(2):
        case = f"case_{fold}"
        write_mask(tmp_path / "gt" / f"{case}.nii.gz", reference)
        write_mask(
            folder / f"fold_{fold}" / "validation" / f"{case}.nii.gz", np.roll(reference, 1, 0)
        )
        counts = {"TP": 0, "FP": 6, "FN": 6, "TN": 108, "n_pred": 6, "n_ref": 6}
        metrics = {"1": {"Dice": 0.0, "IoU": 0.0, **counts}}
        (folder / f"fold_{fold}" / "validation" / "summary.json").write_text(
            json.dumps(
                {
                    "metric_per_case": [
                        {
                            "reference_file": f"{case}.nii.gz",
                            "prediction_file": f"{case}.nii.gz",
                            "metrics": metrics,
                        }
                    ]
                }
            )
        )
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, "organ": 1},
                "file_ending": ".nii.gz",
            }
        )
    )
    return [
        *("leaderboard", "-d", "1", "-tr", "nnUNetTrainer", "-f", "0", "1", "--surface"),
        *("-gt", str(tmp_path / "gt"), "-np", "1", "-o", str(tmp_path / "out")),
    ]


def test_surfaces_are_measured_from_the_validation_predictions(measuring, tmp_path):
    assert main([*measuring, "--tolerance", "3"]) == 0
    record = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    means = {row["metric"]: row["models"]["nnUNetTrainer"]["mean"] for row in record["rows"]}
    assert (means["assd_mm"], means["hd95_mm"], means["nsd"]) == (3.0, 3.0, 1.0)
    assert "The tolerance was 3 mm" in " ".join(record["methods"])


def test_a_tolerance_for_a_label_that_no_data_set_has_is_refused(measuring, tmp_path, capsys):
    assert main([*measuring, "--tolerance", "foo=1", "organ=3"]) == 1
    message = capsys.readouterr().err
    assert "tolerance for unknown label 'foo'; known are: organ" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.cache"))


def test_the_installed_script_needs_no_torch_for_other_results(tmp_path):
    write_folds(tmp_path / "a" / "Dataset001_One" / "3d_fullres", CASES)
    script = Path(sys.executable).with_name("nnunet-attention")
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", script, "leaderboard", "-d", "1", "-f", "0", "1"),
            *("--results", f"A={tmp_path / 'a'}", "-o", tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pandas" in imported
    assert not {"torch", "nnunetv2"} & imported


@pytest.mark.slow
@needs(REFERENCE)
def test_the_decathlon_is_compared(tmp_path):
    arguments = ["leaderboard", "-d", *map(str, range(1, 11)), "-o", str(tmp_path)]
    results = [f"{name}={REFERENCE / name}" for name in ("PlainConvUNet", "ResEncM")]
    assert main([*arguments, "--results", *results]) == 0
    record = json.loads((tmp_path / "leaderboard.json").read_text())
    means = record["nnunet_fold_means"]
    assert round(means["Dataset010_Colon"]["dice"]["PlainConvUNet"], 4) == 0.4603
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        cases = {(row["dataset"], row["case"]) for row in csv.DictReader(file)}
    assert len(cases) == 1741


def test_a_disk_that_fills_up_meanwhile_keeps_nobody_from_the_board(
    results, tmp_path, capsys, monkeypatch
):
    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunet_attention.files.os.replace", refuse)
    assert main(leaderboard(tmp_path)) == 1
    output = capsys.readouterr()
    assert "Dice" in output.out
    assert "wrote" not in output.out
    assert "cannot be written: the disk is full" in output.err


def test_below_a_file_no_folder_is_made_and_nothing_computed(
    results, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("nnunet_attention.evaluation.leaderboard.collect.collect_results", None)
    (tmp_path / "file").write_text("")
    assert main([*leaderboard(tmp_path)[:-1], f"{tmp_path / 'file' / 'out'}"]) == 1
    assert "-o: cannot write in" in (said := capsys.readouterr().err)
    assert "part of the path is a file" in said
