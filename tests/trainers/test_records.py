"""What is recorded of a training beside its checkpoints is true of them at any time."""

from pathlib import Path

import pytest

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.checkpoints import BEST, FINAL, LATEST, LATEST_EARLIER
from nnunet_attention.nnunet.seeds import SeedRecord, read_seed
from nnunet_attention.nnunet.supervision import VARIABLE as SUPERVISION_VARIABLE

NAME = "AttentionUNetSupervisedTrainer_short"
RECORDS = ("schedule.json", "seed.json", "supervision.json")


def records(fold: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in fold.glob("*.json") if path.name in RECORDS}


@pytest.fixture
def trained_fold(train, monkeypatch):
    monkeypatch.setenv(SUPERVISION_VARIABLE, "0.25,2")
    fold = Path(train(NAME, "7", epochs=2).output_folder)
    assert set(records(fold)) == set(RECORDS)
    monkeypatch.delenv(SUPERVISION_VARIABLE)
    return fold


def test_a_training_begun_anew_and_stopped_at_once_leaves_the_records_of_the_checkpoints(
    train, trained_fold, monkeypatch
):
    before = records(trained_fold)

    def stop(trainer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trainers.AttentionUNetSupervisedTrainer, "on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train(NAME, "", epochs=3)
    assert records(trained_fold) == before
    # So the earlier training can be resumed, with its own settings.
    monkeypatch.setenv(SUPERVISION_VARIABLE, "0.25,2")
    assert train(NAME, "7", epochs=3, go_on=True).current_epoch == 3


@pytest.mark.parametrize("save_every", [50, 1])
def test_of_two_trainings_that_were_stopped_the_later_one_is_resumed(
    train, trained_fold, monkeypatch, save_every
):
    # As if it had been stopped: nnU-Net prefers the latest checkpoint to the best one.
    (trained_fold / FINAL).rename(trained_fold / LATEST)
    earlier = (trained_fold / LATEST).read_bytes()

    start = trainers.AttentionUNetSupervisedTrainer.on_train_epoch_start

    def stop_in_the_second_epoch(trainer):
        trainer.save_every = save_every
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        start(trainer)

    with monkeypatch.context() as patched:
        patched.setattr(
            trainers.AttentionUNetSupervisedTrainer,
            "on_train_epoch_start",
            stop_in_the_second_epoch,
        )
        with pytest.raises(KeyboardInterrupt):
            train(NAME, "9", epochs=3)
    assert (trained_fold / BEST).is_file()
    if save_every == 1:
        # It has a latest checkpoint of its own, as in nnU-Net.
        assert (trained_fold / LATEST).read_bytes() != earlier
        assert not (trained_fold / LATEST_EARLIER).exists()
    else:
        assert not (trained_fold / LATEST).exists()
        assert (trained_fold / LATEST_EARLIER).read_bytes() == earlier
    assert read_seed(trained_fold) == SeedRecord(9)


def test_a_checkpoint_that_cannot_be_renamed_ends_no_training(train, trained_fold):
    (trained_fold / LATEST).write_bytes(b"of another training")
    (trained_fold / LATEST_EARLIER).mkdir()
    train(NAME, "", epochs=1)
    # Each training writes a log of its own, named by the second in which it begins.
    logs = [path.read_text() for path in trained_fold.glob("training_log_*.txt")]
    assert any(f"could not be renamed {LATEST_EARLIER}" in log for log in logs)


def test_a_resumed_training_sets_no_checkpoint_aside(train, trained_fold, monkeypatch):
    (trained_fold / LATEST).write_bytes(b"its own")
    monkeypatch.setenv(SUPERVISION_VARIABLE, "0.25,2")
    train(NAME, "7", epochs=3, go_on=True)
    assert not (trained_fold / LATEST_EARLIER).exists()


def test_a_refused_fine_tuning_leaves_the_records_of_the_checkpoints(train, trained_fold):
    plain = trained_fold.parents[1]
    before = records(trained_fold)
    name = "AttentionUNetFinetuneTrainer"
    other = plain / trained_fold.parent.name.replace(NAME, name) / trained_fold.name
    other.parent.mkdir()
    trained_fold.rename(other)
    with pytest.raises(CommandError, match="starts from pretrained weights but has none"):
        train(name, "", epochs=1)
    assert records(other) == before


def test_the_first_checkpoint_of_a_training_brings_its_records(train, trained_fold):
    before = records(trained_fold)
    train(NAME, "", epochs=1)
    after = records(trained_fold)
    assert set(after) == {"schedule.json", "supervision.json"}
    assert all(after[name] != before[name] for name in after)
