"""Recording during training: the right patch, the right epochs, and nothing disturbed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_trainers import DATASET_JSON, build_trainer, initialized, make_nnunet_folders

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.maps.evolution import draw_evolution
from nnunet_attention.maps.training_record import (
    EPOCHS_VARIABLE,
    epochs_to_record,
    read_recorded_epochs,
    record_epoch,
)

# The patch is (4, 8, 16): the first case is larger, the second smaller in y and x.
SHAPES = {"case_a": (9, 20, 40), "case_b": (6, 5, 11), "case_c": (4, 8, 16)}


class FakeDataset:
    """What record_epoch needs of nnU-Net's data set."""

    identifiers = tuple(reversed(SHAPES))

    @staticmethod
    def load_case(case):
        shape = SHAPES[case]
        image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape) / 1000
        labels = np.full((1, *shape), -1, dtype=np.int8)
        labels[:, 1:] = 0
        if case == "case_a":
            # Most of it in slice 6, around y = 15, x = 30.
            labels[0, 5:8, 15, 30] = 1
            labels[0, 6, 14:17, 29:32] = 1
        return image, labels, None, {}


@pytest.fixture
def trainer(tmp_path, minimal_plans, monkeypatch):
    make_nnunet_folders(tmp_path, monkeypatch)
    trainer = build_trainer(trainers.AttentionUNetTrainer, minimal_plans)
    torch.manual_seed(0)
    initialized(trainer)
    trainer.get_tr_and_val_datasets = lambda: (None, FakeDataset)
    return trainer


@pytest.mark.parametrize(
    ("text", "epochs"),
    [("", set()), ("3,6,10,60,150", {3, 6, 10, 60, 150}), (" 1 , 2,", {1, 2}), ("7", {7})],
)
def test_the_variable_names_the_epochs(monkeypatch, text, epochs):
    monkeypatch.setenv(EPOCHS_VARIABLE, text)
    assert epochs_to_record() == epochs


def test_without_the_variable_nothing_is_recorded(monkeypatch):
    monkeypatch.delenv(EPOCHS_VARIABLE, raising=False)
    assert not epochs_to_record()


@pytest.mark.parametrize("text", ["3;6", "0", "-1", "1.5", "all"])
def test_a_malformed_variable_is_an_error_before_training_begins(trainer, monkeypatch, text):
    monkeypatch.setenv(EPOCHS_VARIABLE, text)
    with pytest.raises(CommandError, match=f"{EPOCHS_VARIABLE}='{text}' must be epoch numbers"):
        trainer.on_train_start()


def test_the_patch_is_around_the_fullest_slice_and_padded_where_the_image_ends(trainer):
    record_epoch(trainer)
    (epoch,) = read_recorded_epochs(Path(trainer.output_folder))
    assert epoch.spacing_mm == (3.0, 2.0, 1.0)
    first, second = epoch.patches
    assert (first.case, second.case) == ("case_a", "case_b")
    whole = FakeDataset.load_case("case_a")[0][0]
    # Centre (6, 15, 30): z 4 to 8; y would be 11 to 19; x 22 to 38.
    np.testing.assert_array_equal(first.image, whole[4:8, 11:19, 22:38].astype(np.float16))
    assert first.reference.sum() == 9 + 2
    assert first.reference.min() == 0
    # Without foreground the middle; (5, 11) stand in the middle of (8, 16).
    whole = FakeDataset.load_case("case_b")[0][0]
    np.testing.assert_array_equal(second.image[:, 1:6, 2:13], whole[1:5].astype(np.float16))
    assert not second.image[:, 0].any()
    assert not second.image[:, 6:].any()
    assert not second.image[:, :, 13:].any()


def test_what_is_ignored_is_no_foreground_to_place_a_patch_by(trainer, monkeypatch):
    load = FakeDataset.load_case

    def with_ignored_slices(case):
        image, labels, *rest = load(case)
        # Far from the organ, and more than it.
        labels[0, 1:3] = 2
        return image, labels, *rest

    monkeypatch.setattr(FakeDataset, "load_case", staticmethod(with_ignored_slices))
    monkeypatch.setattr(type(trainer.label_manager), "ignore_label", 2)
    record_epoch(trainer)
    (epoch,) = read_recorded_epochs(Path(trainer.output_folder))
    whole = load("case_a")[0][0]
    first = epoch.patches[0]
    np.testing.assert_array_equal(first.image, whole[4:8, 11:19, 22:38].astype(np.float16))
    assert first.reference.max() == 1


def test_the_coefficients_are_the_networks(trainer):
    record_epoch(trainer)
    (epoch,) = read_recorded_epochs(Path(trainer.output_folder))
    network = trainer.network.eval()
    for patch in epoch.patches:
        image = torch.from_numpy(patch.image.astype(np.float32))[None, None]
        with torch.no_grad():
            _, wanted = network(image, return_coefficients=True)
        assert len(patch.coefficients) == len(wanted) == 1
        np.testing.assert_allclose(patch.coefficients[0], wanted[0][0, 0], atol=2e-3)


def test_training_goes_on_as_if_nothing_had_been_recorded(trainer):
    trainer.network.train()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    random_state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    record_epoch(trainer)
    assert trainer.network.training
    assert all(value.equal(before[name]) for name, value in trainer.network.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.network.parameters())
    assert torch.random.get_rng_state().equal(random_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def run_epochs(trainer, count: int) -> None:
    for _ in range(count):
        trainer.logger.log("epoch_start_timestamps", 0.0, trainer.current_epoch)
        for name in ("train_losses", "val_losses", "mean_fg_dice", "lrs"):
            trainer.logger.log(name, 0.5, trainer.current_epoch)
        trainer.logger.log("dice_per_class_or_region", [0.5], trainer.current_epoch)
        trainer.on_epoch_end()


def test_the_trainer_records_after_the_epochs_asked_for(trainer, monkeypatch):
    monkeypatch.setenv(EPOCHS_VARIABLE, "1,3")
    run_epochs(trainer, 4)
    folder = Path(trainer.output_folder) / "attention"
    assert [path.name for path in sorted(folder.iterdir())] == ["epoch_0001.npz", "epoch_0003.npz"]


def test_the_trainer_records_nothing_by_default(trainer, monkeypatch):
    monkeypatch.delenv(EPOCHS_VARIABLE, raising=False)
    run_epochs(trainer, 2)
    assert not (Path(trainer.output_folder) / "attention").exists()


def test_a_compiled_network_is_recorded_too(trainer):
    record_epoch(trainer)
    plain = read_recorded_epochs(Path(trainer.output_folder))[0].patches[0].coefficients[0]
    trainer.network = torch.compile(trainer.network, backend="eager")
    record_epoch(trainer)
    compiled = read_recorded_epochs(Path(trainer.output_folder))[0].patches[0].coefficients[0]
    np.testing.assert_array_equal(compiled, plain)


def test_a_full_disk_does_not_end_the_training(trainer, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv(EPOCHS_VARIABLE, "1")
    monkeypatch.setattr(np, "savez_compressed", full)
    run_epochs(trainer, 2)
    assert "No space left on device" in Path(trainer.log_file).read_text()
    assert not list((Path(trainer.output_folder) / "attention").iterdir())


def test_the_evolution_is_drawn_for_every_patch(trainer, monkeypatch, tmp_path):
    monkeypatch.setenv(EPOCHS_VARIABLE, "1,2")
    run_epochs(trainer, 2)
    fold = Path(trainer.output_folder)
    paths = draw_evolution(fold, tmp_path / "drawn", DATASET_JSON["labels"])
    assert [path.name for path in paths] == ["evolution_case_a.png", "evolution_case_b.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_recordings_of_other_patches_are_not_drawn_together(trainer, tmp_path):
    trainer.current_epoch = 1
    record_epoch(trainer)
    trainer.current_epoch = 2
    trainer.configuration_manager.configuration["patch_size"] = [4, 8, 8]
    record_epoch(trainer)
    with pytest.raises(CommandError, match="epoch 2 was recorded on different patches"):
        draw_evolution(Path(trainer.output_folder), tmp_path, DATASET_JSON["labels"])


def test_without_recordings_the_remedy_is_named(tmp_path):
    with pytest.raises(CommandError, match=f"train with {EPOCHS_VARIABLE}=3,6,10,60,150"):
        read_recorded_epochs(tmp_path)


def test_a_damaged_recording_is_named(tmp_path):
    (tmp_path / "attention").mkdir()
    (tmp_path / "attention" / "epoch_0003.npz").write_bytes(b"half")
    with pytest.raises(CommandError, match=r"epoch_0003\.npz is damaged"):
        read_recorded_epochs(tmp_path)


def test_recordings_of_an_earlier_training_are_set_aside_with_the_first_checkpoint(
    trainer, minimal_plans, monkeypatch
):
    monkeypatch.setenv(EPOCHS_VARIABLE, "1,3")
    run_epochs(trainer, 3)
    fold = Path(trainer.output_folder)
    again = initialized(build_trainer(trainers.AttentionUNetTrainer, minimal_plans))
    again.get_tr_and_val_datasets = trainer.get_tr_and_val_datasets
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda _: None)
    again.on_train_start()
    assert [one.epoch for one in read_recorded_epochs(fold)] == [1, 3]
    run_epochs(again, 1)
    assert [one.epoch for one in read_recorded_epochs(fold)] == [1]
    names = [path.name for path in sorted((fold / "attention_earlier").iterdir())]
    assert names == ["epoch_0001.npz", "epoch_0003.npz"]


def test_recordings_that_cannot_be_set_aside_do_not_end_the_training(
    trainer, minimal_plans, monkeypatch
):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv(EPOCHS_VARIABLE, "1")
    run_epochs(trainer, 1)
    again = initialized(build_trainer(trainers.AttentionUNetTrainer, minimal_plans))
    again.get_tr_and_val_datasets = trainer.get_tr_and_val_datasets
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda _: None)
    monkeypatch.setattr(Path, "rename", refuse)
    again.on_train_start()
    again._set_recordings_aside()
    told = "attention maps of an earlier training could not be set aside: [Errno 13]"
    assert told in Path(again.log_file).read_text()
