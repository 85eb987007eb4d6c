"""Short trainers read their schedule."""

import pytest

from nnunet_attention import trainers
from nnunet_attention.trainers.short import SCHEDULE_VARIABLE, short_schedule


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
def test_short_schedule_has_a_default(text):
    assert short_schedule(text) == (10, 25, 5)


@pytest.mark.parametrize("text", ["3", "3,7", "3,7,2,1", "a,b,c", "3,7,0", "-1,1,1", "1.5,1,1"])
def test_a_bad_short_schedule_is_refused_and_no_folder_made(text, build, monkeypatch, tmp_path):
    monkeypatch.setenv(SCHEDULE_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{SCHEDULE_VARIABLE}='{text}' must be three"):
        build(trainers.nnUNetTrainer_short)
    assert not list((tmp_path / "nnUNet_results").iterdir())
