"""Short trainers read their schedule, and keep it."""

from pathlib import Path

import pytest

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE, read_schedule, short_schedule


@pytest.mark.parametrize("name", ["AttentionUNetTrainer_short", "nnUNetTrainer_short"])
def test_short_trainers_read_their_schedule(name, build, monkeypatch):
    monkeypatch.setenv(SCHEDULE_VARIABLE, "3,7,2")
    trainer = build(getattr(trainers, name))
    schedule = (
        trainer.num_epochs,
        trainer.num_iterations_per_epoch,
        trainer.num_val_iterations_per_epoch,
    )
    assert schedule == (3, 7, 2)
    assert trainer.save_every == 1


@pytest.mark.parametrize("text", [None, ""])
def test_short_schedule_has_a_default(text, build, monkeypatch):
    assert short_schedule(text) is None
    monkeypatch.setenv(SCHEDULE_VARIABLE, text or "")
    trainer = build(trainers.nnUNetTrainer_short)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch) == (10, 25)
    assert trainer.num_val_iterations_per_epoch == 5


@pytest.mark.parametrize("text", ["3", "3,7", "3,7,2,1", "a,b,c", "3,7,0", "-1,1,1", "1.5,1,1"])
def test_a_bad_short_schedule_is_refused_and_no_folder_made(text, build, monkeypatch, tmp_path):
    monkeypatch.setenv(SCHEDULE_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{SCHEDULE_VARIABLE}='{text}' must be three"):
        build(trainers.nnUNetTrainer_short)
    assert not list((tmp_path / "nnUNet_results").iterdir())


@pytest.fixture
def fold(train):
    """A fold of a short training of three epochs."""
    return Path(train("AttentionUNetTrainer_short", epochs=3).output_folder)


@pytest.fixture
def resumed(build, monkeypatch, fold):
    """Returns a function that resumes the training with a schedule."""

    def resume(schedule):
        monkeypatch.setenv(SCHEDULE_VARIABLE, schedule)
        trainer = build(trainers.AttentionUNetTrainer_short)
        trainer.load_checkpoint(str(fold / "checkpoint_final.pth"))
        return trainer

    return resume


def test_a_training_is_resumed_with_its_own_schedule_where_none_is_set(resumed, fold):
    trainer = resumed("")
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch) == (3, 2)
    assert trainer.num_val_iterations_per_epoch == 1
    assert trainer.lr_scheduler.max_steps == 3
    before = (fold / "checkpoint_final.pth").stat().st_mtime_ns
    trainer.run_training()
    assert trainer.current_epoch == 3
    assert (fold / "checkpoint_final.pth").stat().st_mtime_ns >= before


def test_a_longer_schedule_is_taken_and_told(resumed, fold):
    trainer = resumed("4,2,1")
    trainer.run_training()
    assert trainer.current_epoch == 4
    assert f"begun with {SCHEDULE_VARIABLE}=3,2,1, and goes on with 4,2,1" in (
        Path(trainer.log_file).read_text()
    )
    assert read_schedule(fold) == (4, 2, 1)


def test_a_shorter_schedule_than_what_was_trained_ends_nothing(resumed, fold):
    before = {path: path.read_bytes() for path in fold.glob("*.pth")}
    with pytest.raises(
        CommandError, match=r"trained for 3 epochs, and .* is 2,2,1.*begun with 3,2,1\. Set"
    ):
        resumed("2,2,1").run_training()
    assert {path: path.read_bytes() for path in fold.glob("*.pth")} == before
    assert read_schedule(fold) == (3, 2, 1)
