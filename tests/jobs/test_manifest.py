import json
import os
import subprocess

import pytest
from made_up_steps import DeviceStep, MadeUpWork

from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.manifest import Manifest, git_revision, surroundings
from nnunet_attention.jobs.output import Output


@pytest.fixture
def output(tmp_path):
    output = Output(tmp_path / "out")
    output.attempts.mkdir(parents=True)
    return output


def work(tmp_path, **depends_on) -> MadeUpWork:
    return MadeUpWork(tmp_path, [DeviceStep(tmp_path, "thing")], depends_on)


def content(output) -> dict:
    return json.loads(output.manifest.read_text())


def test_each_launch_is_added_with_its_process(tmp_path, output):
    for _ in range(2):
        Manifest(output, work(tmp_path)).open()
    launches = content(output)["launches"]
    assert [launch["pid"] for launch in launches] == [os.getpid()] * 2
    assert content(output)["made_by"] == "a test"


def test_a_file_of_something_else_is_refused_and_kept(tmp_path, output):
    output.manifest.write_text('{"made_by": "somebody"}')
    with pytest.raises(CommandError, match=r"belongs to something else; choose another"):
        Manifest(output, work(tmp_path)).open()
    assert content(output) == {"made_by": "somebody"}


def test_attempts_are_gathered_in_the_order_of_their_beginning(tmp_path, output):
    for name, started in (("a", "2026-01-02"), ("b", "2026-01-01"), ("c", "2026-01-01")):
        record = {"started": started, "step": name}
        (output.attempts / f"{name}.json").write_text(json.dumps(record))
    Manifest(output, work(tmp_path)).open()
    assert [record["step"] for record in content(output)["attempts"]] == ["b", "c", "a"]


def test_what_steps_depend_on_is_kept_as_it_was_when_the_first_began(tmp_path, output):
    first = Manifest(output, work(tmp_path, plans=1))
    first.open()
    first.note_dependence("group")
    assert content(output)["depends_on"] == {"group": {"plans": 1}}
    second = Manifest(output, work(tmp_path, plans=2, splits=3))
    second.open()
    # The work is asked whether it may go on with it.
    assert json.loads((tmp_path / "before.json").read_text()) == {"group": {"plans": 1}}
    second.note_dependence("group")
    assert content(output)["depends_on"] == {"group": {"plans": 1, "splits": 3}}


def test_of_the_variables_only_those_that_matter_are_told(monkeypatch):
    monkeypatch.setenv("MADE_UP_THING", "1")
    monkeypatch.setenv("SECRET", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    told = surroundings(["numpy"], ["MADE_UP"])
    assert told["variables"]["MADE_UP_THING"] == "1"
    assert told["variables"]["OMP_NUM_THREADS"] == "3"
    assert "SECRET" not in told["variables"]
    assert told["versions"]["numpy"]


def test_a_revision_with_changes_says_so_and_a_folder_without_git_has_none(tmp_path):
    assert git_revision(tmp_path) is None

    def git(*words):
        names = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(
            ["git", "-C", str(tmp_path), *names, *words], check=True, capture_output=True
        )

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "First")
    revision = git_revision(tmp_path)
    assert len(revision) == 40
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == f"{revision}+changes"
