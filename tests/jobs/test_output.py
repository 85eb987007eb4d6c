from collections import namedtuple
from pathlib import Path

from nnunet_attention.jobs.output import Output, file_name_of, full_disk_note

Usage = namedtuple("Usage", "total used free")


def test_the_paths_are_those_that_older_versions_wrote():
    output = Output(Path("/out"))
    assert output.manifest == Path("/out/manifest.json")
    assert output.lock == Path("/out/.lock")
    assert output.attempts == Path("/out/attempts")
    assert output.leaderboard == Path("/out/leaderboard")
    assert output.slurm == Path("/out/slurm")
    assert output.log("Dataset901_Tiny T__P__2d fold 0") == Path(
        "/out/logs/Dataset901_Tiny_T__P__2d_fold_0.log"
    )


def test_what_no_file_name_takes_becomes_an_underscore():
    assert file_name_of("fine-tune A/B: (c).1") == "fine-tune_A_B_c_.1"


def test_a_full_disk_is_named_and_one_with_room_or_gone_is_not(monkeypatch):
    free = {"full": 99e6, "roomy": 101e6}

    def usage(folder):
        if folder.name not in free:
            raise FileNotFoundError(folder)
        return Usage(0, 0, free[folder.name])

    monkeypatch.setattr("shutil.disk_usage", usage)
    note = full_disk_note([Path("gone"), Path("roomy"), Path("full")])
    assert note.startswith("the disk of full is full (99 MB free): make room")
    assert full_disk_note([Path("gone"), Path("roomy")]) == ""
