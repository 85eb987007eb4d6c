"""The result of an experiment becomes the table of its document."""

import json

import numpy as np
import pytest
import SimpleITK

from benchmarks.finetune import __main__ as command
from benchmarks.finetune import training
from benchmarks.finetune.by_training import by_training_table, trainings_of
from benchmarks.finetune.reporting import DASH, table_of
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.errors import CommandError

TARGET = "Dataset901_Tuning"


def value(mean: float, baseline: tuple | None = None, **controls: tuple) -> dict:
    """What table.json has of a method; of comparisons, the mean difference and both ends."""

    def comparison(numbers: tuple) -> dict:
        return dict(zip(("mean_difference", "low", "high"), numbers, strict=True))

    return {
        "mean": mean,
        "sd": 0.05,
        "against_baseline": baseline and comparison(baseline),
        "against_controls": {name: comparison(numbers) for name, numbers in controls.items()},
    }


@pytest.fixture
def record() -> dict:
    def result(method: str, dice: dict) -> dict:
        labels = {"anterior": {"dice": value(0)}, "mean of labels": {"dice": dice}}
        setting = {"setting": f"{TARGET} fold 0", "setting_title": "10/96"}
        return {**setting, "method": method, "labels": labels}

    return {
        "title": "Fine-tuning",
        "baseline": "U-Net",
        "results": [
            result("U-Net", value(0.8, Tuned=(-0.03, -0.04, -0.02))),
            result("Tuned", value(0.83, (0.03, 0.02, 0.04))),
            result("Gated", value(0.829, (0.029, 0.018, 0.0396), Tuned=(-0.001, -0.003, 0.001))),
        ],
    }


def test_every_method_has_a_row_with_differences_and_intervals(record):
    minus = "\N{MINUS SIGN}"
    heading, _, scratch, tuned, gated, *rest = table_of(record).splitlines()
    assert heading == "| trained/tested | method | Dice | minus U-Net | minus Tuned |"
    assert scratch == (
        f"| 10/96 | U-Net | 0.800 ± 0.050 | {DASH} | {minus}0.030 [{minus}0.040, {minus}0.020] |"
    )
    assert tuned == f"| 10/96 | Tuned | 0.830 ± 0.050 | +0.030 [+0.020, +0.040] | {DASH} |"
    assert gated == (
        "| 10/96 | Gated | 0.829 ± 0.050 | +0.029 [+0.018, +0.040] "
        f"| {minus}0.001 [{minus}0.003, +0.001] |"
    )
    assert rest[1].startswith("Dice, mean of labels: mean and SD over cases. Differences")
    assert rest[1].endswith("bootstrap over cases; one training each.")


def test_several_trainings_are_told(record):
    for result in record["results"]:
        result["labels"]["mean of labels"]["dice"]["trainings"] = {"repeats": [2]}
    told = table_of(record).splitlines()[-1]
    assert "SD over cases, of means over trainings" in told
    assert told.endswith(
        "bootstrap, widened by a t quantile because trainings are few, over cases and trainings, "
        "which are paired by the pretraining that they start from."
    )


def test_the_report_keeps_the_result_and_its_table(record, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "kept")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table.json").write_text(json.dumps(record))
    write_trainings(tmp_path)
    assert command.main(["report", "-w", str(tmp_path)]) == 0
    assert "| 10 | U-Net | 0.500" in (tmp_path / "kept" / "trainings.md").read_text("utf-8")
    assert json.loads((tmp_path / "kept" / "table.json").read_text()) == record
    assert (tmp_path / "kept" / "table.md").read_text("utf-8") == table_of(record)


def write_trainings(work):
    """Two trainings from scratch on ten cases; of one case, both parts are taken for one."""
    raw = work / "nnUNet_raw" / TARGET
    (raw / "labelsTr").mkdir(parents=True)
    labels = {"background": 0, "Anterior": 1, "Posterior": 2}
    (raw / "dataset.json").write_text(json.dumps({"labels": labels}))
    reference = np.zeros((2, 3, 4), np.uint8)
    reference[0, 0], reference[1, 0] = 1, 2
    write_image(raw / "labelsTr" / "a.nii.gz", reference)
    name = "nnUNetTrainer_short__nnUNetPlans__3d_fullres_half"
    for repeat, dice in (("", 0.5), ("repeats/repeat_2", 0.0)):
        folder = work / "nnUNet_results" / repeat / TARGET / name / "fold_0" / "validation"
        folder.mkdir(parents=True)
        predicted = reference.copy()
        predicted[reference == 1] = 2 if repeat else 1
        # One voxel less of eight.
        predicted[0, 0, 0] = 0
        write_image(folder / "a.nii.gz", predicted)
        summary = {"mean": {"1": {"Dice": dice}, "2": {"Dice": 0.625}}}
        (folder / "summary.json").write_text(json.dumps(summary))


def write_image(path, values):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))


def test_each_training_is_shown_with_all_parts_as_one(tmp_path):
    write_trainings(tmp_path)
    found = trainings_of(tmp_path, TARGET)
    assert [(one["repeat"], one["dice"]["Anterior"]) for one in found] == [(1, 0.5), (2, 0.0)]
    # 2 x 7 / (7 + 8)
    assert [one["merged"] for one in found] == [0.93333] * 2
    lines = by_training_table(found).splitlines()
    assert lines[0] == (
        "| trained | method | Anterior, training 1 | Posterior, training 1 | as one, training 1 | "
        "Anterior, training 2 | Posterior, training 2 | as one, training 2 |"
    )
    assert lines[2:] == [
        "| 10 | U-Net | 0.500 | 0.625 | 0.933 | 0.000 | 0.625 | 0.933 |",
    ]


def test_another_data_set_is_refused_before_anything_is_copied(tmp_path, capsys):
    data = tmp_path / "Dataset018_Nuclei2D"
    data.mkdir()
    (data / "dataset.json").write_text(json.dumps({"file_ending": ".png"}))
    work = tmp_path / "work"
    assert exit_code_of("it", lambda: training.train(data, work, False, 1, 2)) == 1
    assert "Dataset004_Hippocampus" in capsys.readouterr().err
    assert list((work / "nnUNet_raw").iterdir()) == []


def test_the_result_of_another_experiment_is_refused(record):
    for result in record["results"]:
        result["labels"]["mean of labels"]["dice"]["against_controls"] = {}
    with pytest.raises(CommandError, match="give the folder of nnunet-attention experiment"):
        table_of(record)


def test_a_folder_without_a_table_is_one_error_and_nothing_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    assert exit_code_of("it", lambda: command.main(["report", "-w", str(tmp_path)])) == 1
    table = tmp_path / "experiment" / "table.json"
    assert capsys.readouterr().err == f"it: {table}: there is no such file\n"
    assert not (tmp_path / "results").exists()


def test_results_that_cannot_be_written_are_one_error(record, tmp_path, monkeypatch, capsys):
    (tmp_path / "kept").touch()
    monkeypatch.setattr(command, "RESULTS", tmp_path / "kept")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table.json").write_text(json.dumps(record))
    write_trainings(tmp_path)
    assert exit_code_of("it", lambda: command.main(["report", "-w", str(tmp_path)])) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
