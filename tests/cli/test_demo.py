import json
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK
from matplotlib.image import imread

from nnunet_attention.cli import main
from nnunet_attention.errors import CommandError

SCRIPT = Path(sys.executable).parent / "nnunet-attention"


def fails_with_one_message(capsys, arguments: list[str]) -> str:
    assert main(["demo", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nnunet-attention demo: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--cases", "4"], "use at least 5 cases or --folds all"),
        (["--folds", "5"], "--folds 5: choose from 0 1 2 3 4, or all"),
        (["--folds", "0", "all"], "give it by itself"),
        (["--data", "."], "its name must be like Task04_Hippocampus"),
    ],
)
def test_bad_input_gives_one_message_and_writes_nothing(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in fails_with_one_message(capsys, arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_refused(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    assert "is not a demo folder" in fails_with_one_message(capsys, ["-o", str(tmp_path)])


@pytest.mark.parametrize(
    "arguments",
    [["--cases", "0"], ["--seed", "-1"], ["--epochs", "x"], ["-device", "tpu"], ["-c", "4d"]],
)
def test_wrong_usage_ends_with_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as ending:
        main(["demo", *arguments])
    assert ending.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny demo, run through the installed script: (folder, what it printed)."""
    folder = tmp_path_factory.mktemp("demo") / "d"
    return folder, run_script(folder)


def run_script(folder: Path) -> subprocess.CompletedProcess:
    tiny = ["--cases", "6", "--epochs", "1", "--iterations", "2", "-o", str(folder)]
    return subprocess.run(
        [SCRIPT, "demo", *tiny], capture_output=True, text=True, check=False, timeout=900
    )


@pytest.mark.slow
def test_the_demo_runs_from_raw_data_to_table_and_picture(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert "Attention U-Net" in done.stdout
    assert "pancreas" in done.stdout
    assert "differences between the two networks mean nothing" in " ".join(done.stdout.split())
    assert "AttentionUNetTrainer_short__nnUNetPlans__3d_fullres fold 0 in" in done.stderr
    results = json.loads((folder / "results.json").read_text())
    plain, attention = results["leaderboard"]["costs"]
    # The gates add a few per cent.
    assert 1.0 < attention["parameters"] / plain["parameters"] < 1.05
    assert plain["training_hours"] > 0
    assert "Attention U-Net" in (folder / "results.md").read_text()
    assert (folder / "leaderboard" / "leaderboard.html").is_file()
    picture = imread(folder / "comparison.png")
    assert picture.shape[1] > 1000


@pytest.mark.slow
def test_predictions_lie_where_the_reference_does(finished):
    folder, _ = finished
    (case,) = json.loads((folder / "results.json").read_text())["held_out_cases"]
    reference = folder / "task" / "Task90_AbdomenPhantom" / "labelsTr" / f"{case}.nii.gz"
    models = folder / "nnUNet_results" / "Dataset090_AbdomenPhantom"
    for trainer in ("nnUNetTrainer_short", "AttentionUNetTrainer_short"):
        fold = models / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_0"
        prediction = SimpleITK.ReadImage(str(fold / "validation" / reference.name))
        expected = SimpleITK.ReadImage(str(reference))
        assert prediction.GetSize() == expected.GetSize()
        assert prediction.GetOrigin() == pytest.approx(expected.GetOrigin(), abs=1e-3)


@pytest.mark.slow
def test_a_second_run_repeats_no_command(finished):
    folder, first = finished
    logs = {path: path.stat().st_mtime_ns for path in (folder / "logs").iterdir()}
    second = run_script(folder)
    assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "logs").iterdir()} == logs
    assert second.stdout == first.stdout
    # Only table and picture are made again.
    assert second.stderr.count("start") == 1
    assert "start write the table and the picture" in second.stderr


def test_without_a_terminal_a_step_says_when_it_begins_and_ends(capsys, tmp_path, monkeypatch):
    def run(settings, output, *, show_step, **options):
        with show_step("make the data set"):
            raise CommandError("the disk is full")

    monkeypatch.setattr("nnunet_attention.demo.running.run", run)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 1
    begun, failed = capsys.readouterr().err.splitlines()
    assert begun.endswith(" start make the data set")
    assert failed == "nnunet-attention demo: the disk is full"


def test_an_interrupted_demo_says_how_to_go_on(capsys, tmp_path, monkeypatch):
    def run(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnunet_attention.demo.running.run", run)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 130
    assert (
        "finished work is kept; run the same command again to continue" in capsys.readouterr().err
    )


def test_a_folder_below_a_file_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    said = fails_with_one_message(capsys, ["-o", str(tmp_path / "file" / "demo")])
    assert "-o: cannot write in" in said
    assert "part of the path is a file" in said
