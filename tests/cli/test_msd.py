import json
import socket

import pytest
from fake_experiments import FakeExperiments
from msd_archives import NAME, archive_of, write_task
from range_server import range_server

from nnunet_attention import msd
from nnunet_attention.cli import main
from nnunet_attention.msd import tasks

TRAINERS = ("-tr", "TrainerA", "TrainerB", "-device", "cpu", "-np", "1", "-f", "0", "1")


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeExperiments:
    """This process's nnU-Net, with predictions for a task of six cases."""
    made = FakeExperiments(tmp_path / "nnunet")
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    made.cases = [f"case_{number}" for number in range(6)]
    made.lay_ready("TrainerA", [2] * 6)
    made.lay_ready("TrainerB", [1] * 6)
    return made


@pytest.fixture
def no_network(monkeypatch) -> str:
    """An address where nobody answers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_fetch_says_where_the_task_is(tmp_path, monkeypatch, capsys):
    archive = archive_of(write_task(tmp_path / "original"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(tasks, "TASKS", (msd.Task(NAME, None),))
    with range_server() as server:
        server.files[f"{NAME}.tar"] = archive
        command = ["msd", "fetch", "4", "-o", str(tmp_path / "msd"), "--url", server.url]
        assert main(command) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'msd' / NAME}\n"
    assert said.err == "", "a bar is for terminals"


def test_without_a_connection_there_is_one_line_and_no_rubbish(tmp_path, no_network, capsys):
    assert main(["msd", "fetch", "4", "-o", str(tmp_path / "msd"), "--url", no_network]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Connection refused" in said
    assert [p.name for p in (tmp_path / "msd").iterdir() if not p.name.endswith(".guard")] == []


def test_unknown_task_is_told_before_anything_is_fetched(no_network, tmp_path, capsys):
    command = ["msd", "fetch", "4", "kidney", "-o", str(tmp_path / "msd"), "--url", no_network]
    assert main(command) == 1
    assert "kidney is not a task of the Decathlon" in capsys.readouterr().err


def test_run_takes_a_local_copy_to_a_leaderboard_beside_published_results(
    fake, tmp_path, no_network, capsys, monkeypatch
):
    write_task(tmp_path / "here", cases=6, with_test_folder=False)
    monkeypatch.setattr(msd, "BASE_URL", no_network)
    out, data = tmp_path / "out", tmp_path / "msd"
    common = ["--data", str(data), "-o", str(out), *TRAINERS]
    source = ["--from", str(tmp_path / "here")]
    assert main(["msd", "run", "--tasks", "4", *source, *common]) == 0
    said = capsys.readouterr().out
    assert "nnU-Net ResEnc M" in said
    rows = json.loads((out / "leaderboard" / "published.json").read_text())["rows"]
    assert [(row["model"], row["source"]) for row in rows] == [
        ("TrainerA", None),
        ("TrainerB", None),
        ("nnU-Net", "auto-nnunet-baseline"),
        ("nnU-Net ResEnc M", "auto-nnunet-baseline"),
    ]
    assert 0 < rows[0]["dice"] < rows[1]["dice"] < 1
    assert (out / "leaderboard" / "leaderboard.html").is_file()
    journals = fake.journals()
    assert main(["msd", "run", "--tasks", "Hippocampus", *common]) == 0, "all is converted"
    assert fake.journals() == journals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "x", "--url", "u"), "--url would be ignored with --from"),
        (("--from", "x", "--keep-archive"), "--keep-archive would be ignored with --from"),
        (("--partition", "gpu"), "--partition would be ignored without --slurm"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(fake, capsys, arguments, message):
    assert main(["msd", "run", "--tasks", "4", *TRAINERS, *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(fake.folders.preprocessed.iterdir()) == []


def test_dry_run_tells_download_conversion_and_later_steps(fake, tmp_path, no_network, capsys):
    write_task(tmp_path / "here", cases=6)
    data = ["--data", str(tmp_path / "msd")]
    command = ["msd", "run", "--tasks", "4", "--dry-run", *TRAINERS, *data]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"download {msd.BASE_URL}/{NAME}.tar to {tmp_path / 'msd' / NAME}" in said
    assert "cross-validation of Dataset004_Hippocampus: listed once" in said
    here = ["--from", str(tmp_path / "here")]
    assert main([*command, *here]) == 0
    assert f"MSD_dataset -i {tmp_path / 'here' / NAME}\n" in capsys.readouterr().out
    assert main(["msd", "run", "--tasks", "9", "--dry-run", *here]) == 1
    assert "neither Task09_Spleen/dataset.json nor" in capsys.readouterr().err
    fake.add_dataset("Dataset004_Hippocampus")
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "nnUNetv2_extract_fingerprint -d 4" in said
    assert "download https" not in said


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_fetched(
    no_network, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "msd"
    assert main(["msd", "fetch", "4", "-o", str(folder), "--url", no_network]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"-o: cannot write in {folder}: part of the path is a file" in said
