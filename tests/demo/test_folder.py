import json

import pytest

from nnunet_attention.demo.folder import DemoFolder
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.lock import Lock, LockedError


def test_a_new_folder_is_made_with_its_state(tmp_path):
    folder = DemoFolder.open(tmp_path / "new" / "demo", DemoSettings(epochs=3))
    assert json.loads((folder.root / "demo.json").read_text())["settings"]["epochs"] == 3
    assert [path.name for path in folder.root.iterdir()] == ["demo.json"]


def test_a_folder_with_the_same_settings_is_continued(tmp_path):
    folder = DemoFolder.open(tmp_path / "demo", DemoSettings())
    folder.nnunet.raw.mkdir()
    again = DemoFolder.open(tmp_path / "demo", DemoSettings())
    assert again == folder
    assert again.nnunet.raw.is_dir()


def test_other_settings_are_refused_with_the_difference_and_the_remedy(tmp_path):
    DemoFolder.open(tmp_path / "demo", DemoSettings(epochs=3, folds=("0",)))
    with pytest.raises(CommandError) as refusal:
        DemoFolder.open(tmp_path / "demo", DemoSettings(epochs=4, folds=("0", "1")))
    message = str(refusal.value)
    assert "epochs 3 there, 4 now" in message
    assert "folds 0 there, 0 1 now" in message
    assert "seed" not in message
    assert "-o" in message
    assert "--overwrite" in message


def test_overwrite_starts_afresh_and_leaves_foreign_files(tmp_path):
    folder = DemoFolder.open(tmp_path / "demo", DemoSettings())
    (folder.nnunet.raw / "Dataset090_X").mkdir(parents=True)
    folder.logs.mkdir()
    (folder.root / "notes.txt").write_text("mine")
    afresh = DemoFolder.open(tmp_path / "demo", DemoSettings(epochs=9), overwrite=True)
    assert not afresh.nnunet.raw.exists()
    assert not afresh.logs.exists()
    assert (folder.root / "notes.txt").read_text() == "mine"


def test_a_demo_that_another_process_trains_in_is_not_overwritten(tmp_path):
    folder = DemoFolder.open(tmp_path / "demo", DemoSettings())
    folder.nnunet.raw.mkdir()
    held = Lock(folder.root / ".lock", "it").held()
    with held, pytest.raises(LockedError, match="is in use by process"):
        DemoFolder.open(folder.root, DemoSettings(epochs=9), overwrite=True)
    assert folder.nnunet.raw.is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("state", [None, "{", "[]", '{"made_by": "somebody else"}'])
def test_a_folder_that_is_not_ours_is_refused_and_left_alone(tmp_path, state, overwrite):
    (tmp_path / "precious.txt").write_text("precious")
    if state is not None:
        (tmp_path / "demo.json").write_text(state)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CommandError, match="is not a demo folder"):
        DemoFolder.open(tmp_path, DemoSettings(), overwrite)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(CommandError, match="is not a demo folder"):
        DemoFolder.open(tmp_path / "demo", DemoSettings())


def test_an_empty_folder_is_used(tmp_path):
    assert DemoFolder.open(tmp_path, DemoSettings()).root == tmp_path
