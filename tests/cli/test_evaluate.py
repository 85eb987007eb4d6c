"""`nnunet-attention evaluate` writes a summary and prints its means, or fails in one line."""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK

from nnunet_attention.cli import main
from nnunet_attention.cli.shared_arguments import parse_tolerances
from nnunet_attention.errors import CommandError

LABELS = {"background": 0, "liver": 1, "cancer": 2}


@pytest.fixture
def folder(tmp_path):
    """One case: a liver of 12 voxels of which 8 are predicted, and a cancer nobody has."""
    reference, prediction = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    reference[0, :3, :4] = prediction[0, :2, :4] = 1
    for kind, labels in (("labelsTr", reference), ("pred", prediction)):
        (tmp_path / kind).mkdir()
        image = SimpleITK.GetImageFromArray(labels)
        image.SetSpacing((1.0, 2.0, 3.0))
        SimpleITK.WriteImage(image, str(tmp_path / kind / "a.nii.gz"))
    content = {"labels": LABELS, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    return tmp_path


def command(folder, *options):
    return main(
        ["evaluate", "-gt", f"{folder / 'labelsTr'}", "-pred", f"{folder / 'pred'}", *options]
    )


def test_the_summary_stands_beside_the_predictions_and_its_means_are_printed(folder, capsys):
    assert command(folder, "-np", "1") == 0
    summary = json.loads((folder / "pred" / "summary.json").read_text())
    assert summary["mean"]["1"]["Dice"] == 0.8
    assert summary["tolerance_mm"] == {"1": 2.0, "2": 2.0}
    output = capsys.readouterr()
    assert "0.800" in output.out
    assert "nan (1)" in output.out
    assert f"wrote {folder / 'pred' / 'summary.json'}" in output.out
    assert output.err == ""


def test_output_and_tolerances_can_be_named(folder):
    target = folder / "new" / "scores.json"
    assert command(folder, "-o", f"{target}", "--tolerance", "3", "cancer=1.5") == 0
    assert json.loads(target.read_text())["tolerance_mm"] == {"1": 3.0, "2": 1.5}


def test_tolerances_can_be_given_one_flag_each(folder):
    assert command(folder, "--tolerance", "3", "--tolerance", "cancer=1.5") == 0
    summary = json.loads((folder / "pred" / "summary.json").read_text())
    assert summary["tolerance_mm"] == {"1": 3.0, "2": 1.5}


def test_dataset_json_can_be_named(folder, tmp_path):
    (folder / "dataset.json").rename(tmp_path / "other.json")
    assert command(folder) == 1
    assert command(folder, "-djfile", f"{tmp_path / 'other.json'}") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "summary.txt"), "-o summary.txt: the name must end with .json"),
        (("--tolerance", "spleen=2"), "unknown label 'spleen'; known are: liver, cancer"),
        (("--tolerance", "much"), "--tolerance much: give MM or LABEL=MM"),
        (("-djfile", "absent.json"), "absent.json: there is no such file"),
        (("-pfile", "absent.json"), "absent.json: there is no such file"),
        (("--groups", "absent.csv"), "--groups absent.csv: there is no such file"),
        (("--group-by", "(b)"), "--group-by '(b)': 1 case that it does not match, such as a"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(folder, capsys, options, message):
    assert command(folder, *options) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"nnunet-attention evaluate: {message}")
    assert output.err.count("\n") == 1
    assert not (folder / "pred" / "summary.json").exists()


@pytest.mark.parametrize("kind", ["labelsTr", "pred"])
def test_a_file_that_was_cut_is_named_and_nothing_is_written(folder, capsys, kind):
    path = folder / kind / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:-12])
    assert command(folder, "-np", "1") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"nnunet-attention evaluate: {path} is incomplete or damaged: ")
    assert error.count("\n") == 1
    assert not (folder / "pred" / "summary.json").exists()


def test_an_unknown_label_is_named_on_stderr(folder):
    path = folder / "pred" / "a.nii.gz"
    labels = SimpleITK.ReadImage(str(path))
    labels[0, 0, 0] = 255
    SimpleITK.WriteImage(labels, str(path))
    script = "import sys; from nnunet_attention.cli import main; sys.exit(main(sys.argv[1:]))"
    options = ["evaluate", "-gt", f"{folder / 'labelsTr'}", "-pred", f"{folder / 'pred'}"]
    done = subprocess.run(
        [sys.executable, "-c", script, *options], check=True, capture_output=True, text=True
    )
    assert done.stderr == (
        "the label 255 is not in dataset.json and counts as background in the prediction "
        "of 1 case(s): a (1 voxels)\n"
    )


@pytest.fixture
def patients(folder):
    """Two images each of four patients; of each patient's second one everything is missed."""
    whole = {kind: folder / kind / "a.nii.gz" for kind in ("labelsTr", "pred")}
    empty = SimpleITK.ReadImage(str(whole["pred"])) * 0
    for patient in range(4):
        for frame in (1, 2):
            for kind, path in whole.items():
                image = empty if (kind, frame) == ("pred", 2) else SimpleITK.ReadImage(str(path))
                name = f"patient{patient}_frame{frame}.nii.gz"
                SimpleITK.WriteImage(image, str(folder / kind / name))
    for path in whole.values():
        path.unlink()
    return folder


def test_names_that_look_grouped_are_told_in_a_line(patients, capsys):
    assert command(patients, "-np", "1") == 0
    error = capsys.readouterr().err
    assert error.startswith("names of cases look grouped: 8 cases have 4 stems (such as patient0")
    assert error.count("\n") == 1


def test_means_are_over_groups_with_intervals_where_cases_are_grouped(
    patients, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    assert command(patients, "-np", "1", "--group-by", r"(patient\d)") == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "means over 4 groups of 8 cases, with 95 % intervals" in output.out
    # 0.8 and 0, for every patient.
    assert "0.400 [0.400, 0.400]" in output.out
    summary = json.loads((patients / "pred" / "summary.json").read_text())
    assert summary["groups"]["number"] == 4
    assert summary["mean"]["1"]["Dice"] == 0.4


def test_a_file_of_groups_may_name_cases_that_are_left_out(patients, tmp_path, capsys):
    names = [f"patient{patient}_frame{frame}" for patient in range(4) for frame in (1, 2)]
    file = tmp_path / "groups.csv"
    file.write_text("case,group\n" + "".join(f"{name},{name[:8]}\n" for name in names))
    (patients / "pred" / "patient3_frame2.nii.gz").unlink()
    options = ("-np", "1", "--groups", f"{file}")
    assert command(patients, *options) == 1
    assert "lacks 1 of 8 cases" in capsys.readouterr().err
    assert command(patients, *options, "--chill") == 0
    assert "4 groups of 7" in " ".join(capsys.readouterr().out.split())


def test_another_label_manager_is_refused(folder, capsys):
    (folder / "plans.json").write_text(json.dumps({"label_manager": "OddLabelManager"}))
    assert command(folder, "-pfile", f"{folder / 'plans.json'}") == 1
    assert "OddLabelManager" in capsys.readouterr().err


def test_tolerances_are_for_all_or_for_a_label():
    assert parse_tolerances([], 2.0) == (2.0, {})
    assert parse_tolerances(["1", "a=b=3", "c=0"], 2.0) == (1.0, {"a=b": 3.0, "c": 0.0})
    for text in ("-1", "inf", "nan", "=3", "liver="):
        with pytest.raises(CommandError, match="--tolerance"):
            parse_tolerances([text], 2.0)


def test_the_command_loads_neither_torch_nor_nnunetv2(folder):
    script = (
        "import sys; from nnunet_attention.cli import main; code = main(sys.argv[1:]);"
        "sys.exit(code or int('torch' in sys.modules) or int('nnunetv2' in sys.modules))"
    )
    options = ["evaluate", "-gt", f"{folder / 'labelsTr'}", "-pred", f"{folder / 'pred'}"]
    subprocess.run([sys.executable, "-c", script, *options], check=True, capture_output=True)


def no_evaluation(*arguments):
    raise AssertionError("it was computed")


def test_an_output_that_cannot_be_written_is_named_before_computing(folder, capsys, monkeypatch):
    monkeypatch.setattr("nnunet_attention.evaluation.metrics.evaluate.evaluate_pair", no_evaluation)
    (folder / "file").write_text("")
    assert command(folder, "-o", f"{folder / 'file' / 'summary.json'}") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert f"-o: cannot write in {folder / 'file'}: there is a file of this name" in output.err
    assert output.err.count("\n") == 1


def test_a_disk_that_fills_up_meanwhile_keeps_nobody_from_the_table(folder, capsys, monkeypatch):
    def refuse(path, content, **layout):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunet_attention.evaluation.metrics.evaluate.write_json", refuse)
    assert command(folder, "-np", "1") == 1
    output = capsys.readouterr()
    assert "0.800" in output.out
    assert "wrote" not in output.out
    assert "summary.json cannot be written: the disk is full" in output.err
