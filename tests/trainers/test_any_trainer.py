"""Every trainer of nnU-Net trains the attention U-Net that plans name, and predicts with it."""

import importlib
import inspect
import pkgutil
import re
import sys

import numpy as np
import pytest
import torch
from documents import shown
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training import nnUNetTrainer as all_trainers  # noqa: N813 a package
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import AbstractPrimus
from nnunetv2.training.nnUNetTrainer.variants.benchmarking.nnUNetTrainerBenchmark_5epochs import (
    nnUNetTrainerBenchmark_5epochs,
)
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerBN import (
    nnUNetTrainerBN,
)
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdan import nnUNetTrainerAdan
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from torch import nn

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.networks import AttentionUNet
from nnunet_attention.plans import converted_plans
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.trainers.foundation import _builders

# One that augments otherwise, one without deep supervision, one that changes the plans' network.
REPRESENTATIVES = ("nnUNetTrainerDA5", "nnUNetTrainerNoDeepSupervision", "nnUNetTrainerBN")


def stock_trainers() -> dict[str, type[nnUNetTrainer]]:
    """Every trainer class that nnU-Net's own search may come upon, by name."""
    found = {}
    for module in pkgutil.walk_packages(all_trainers.__path__, f"{all_trainers.__name__}."):
        members = vars(importlib.import_module(module.name)).values()
        for member in filter(inspect.isclass, members):
            if issubclass(member, nnUNetTrainer) and member.__module__ == module.name:
                found[member.__name__] = member
    return found


STOCK = stock_trainers()
# They bring a transformer, whatever network the plans name.
PRIMUS = {name for name, found in STOCK.items() if issubclass(found, AbstractPrimus)}
# Of the development branch. They need plans that name a pretraining's checkpoint, as those in
# test_development_branch.py do, where they are tested.
PRETRAINED = {name for name, found in STOCK.items() if ".pretraining." in found.__module__}
VARIANTS = {name: found for name, found in STOCK.items() if name not in PRIMUS | PRETRAINED}


def parameter(name: str):
    marks = [] if name in REPRESENTATIVES else [pytest.mark.slow]
    if issubclass(VARIANTS[name], nnUNetTrainerAdan):
        is_absent = sys.modules[nnUNetTrainerAdan.__module__].Adan is None
        marks.append(pytest.mark.skipif(is_absent, reason="needs the package adan-pytorch"))
    return pytest.param(name, marks=marks)


@pytest.fixture
def plans(minimal_plans, tiny_dataset):
    # The smallest of what nnUNetTrainerDA5 augments is a tenth or a seventh of a patch; and with
    # more than three times as many columns as slices, nnU-Net augments slices.
    minimal_plans["configurations"]["3d_fullres"]["patch_size"] = [14, 16, 48]
    return converted_plans(minimal_plans, "Attention_nnUNetPlans")


@pytest.fixture
def built(build, plans, monkeypatch):
    """Returns a function that builds the variant of a name and initialises it."""

    def built(name):
        with monkeypatch.context() as patch:
            if issubclass(VARIANTS[name], nnUNetTrainerBenchmark_5epochs):
                # Its constructor asserts that there is a GPU; all else runs on a CPU as well.
                patch.setattr(torch.cuda, "is_available", lambda: True)
            trainer = build(VARIANTS[name], plans)
        trainer.initialize()
        return trainer

    return built


def test_the_walk_finds_what_nnunet_ships():
    """A release that moves them must not leave the tests below empty."""
    assert len(VARIANTS) >= 57
    named = {"nnUNetTrainer", *REPRESENTATIVES, "nnUNetTrainerAdam", "nnUNetTrainer_5epochs"}
    assert named <= VARIANTS.keys()


def test_only_trainers_that_bring_their_own_network_are_left_out():
    own = {
        name
        for name, found in STOCK.items()
        if found.build_network_architecture is not nnUNetTrainer.build_network_architecture
    }
    assert own == {*PRIMUS, *PRETRAINED, "nnUNetTrainerBN"}


# torch says so of nnU-Net's top-k loss, whatever network it is for.
@pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated:UserWarning")
# nnU-Net steps its schedules, torch's as well, at the beginning of an epoch and with its number.
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step..` before:UserWarning")
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step..`:UserWarning")
@pytest.mark.parametrize("name", [*map(parameter, VARIANTS)])
def test_it_trains_the_gated_network_and_predicts(name, built, plans):
    trainer = built(name)
    assert type(trainer.network) is AttentionUNet
    gates = trainer.network.decoder.gates
    before = {key: value.clone() for key, value in gates.state_dict().items()}

    batches = trainer.get_dataloaders()[0]
    if batches is None:
        # It trains on one batch of random numbers.
        batches = iter(lambda: trainer.dummy_batch, None)
    trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
    # The learning rate of nnUNetTrainer_warmup is 0 before the second, and others' after the last.
    trainer.current_epoch = min(1, trainer.num_epochs - 1)
    trainer.on_train_epoch_start()
    # Gates that start with the plain network's function move theta and phi in the second step, with
    # an optimizer that looks back one step in the third.
    losses = [float(trainer.train_step(next(batches))["loss"]) for _ in range(3)]
    assert np.isfinite(losses).all()
    after = gates.state_dict()
    assert all(not torch.equal(after[key], value) for key, value in before.items())

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    image = torch.randn(1, 5, 9, 50)
    predictor = nnUNetPredictor(
        tile_step_size=1.0, use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        name,
        trainer.inference_allowed_mirroring_axes,
    )
    logits = predictor.predict_logits_from_preprocessed_data(image)
    assert logits.shape == (2, 5, 9, 50)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    "name", ["nnUNetTrainerNoDeepSupervision", "nnUNetTrainerBN", "nnUNetTrainerNoMirroring"]
)
def test_its_checkpoint_is_found_and_predicts_what_the_trainer_did(name, built, tmp_path):
    """nnU-Net looks up the trainer by its name in the checkpoint, and builds the network by it."""
    trainer = built(name)
    trainer.on_train_start()
    trainer.save_checkpoint(f"{trainer.output_folder}/checkpoint_final.pth")
    predictor = nnUNetPredictor(
        use_mirroring=False, use_gaussian=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    assert type(predictor.network) is AttentionUNet
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    image = torch.randn(1, *trainer.configuration_manager.patch_size)
    with torch.no_grad():
        expected = trainer.network(image[None])[0]
    logits = predictor.predict_logits_from_preprocessed_data(image)
    assert torch.allclose(logits.float(), expected, rtol=1e-2, atol=1e-2)


def test_a_class_of_ones_own_may_have_our_trainer_and_a_variant_as_bases(build, plans):
    class Both(AttentionUNetTrainer, VARIANTS["nnUNetTrainerDA5"]):
        """Ours by network, nnU-Net's by augmentation."""

    trainer = build(Both, plans)
    trainer.initialize()
    assert type(trainer.network) is AttentionUNet
    ours = type(trainer).get_training_transforms
    assert ours is VARIANTS["nnUNetTrainerDA5"].get_training_transforms


def test_batch_normalisation_reaches_the_gated_network(built):
    modules = list(built(nnUNetTrainerBN.__name__).network.modules())
    assert any(isinstance(module, nn.BatchNorm3d) for module in modules)
    assert not any(isinstance(module, nn.InstanceNorm3d) for module in modules)


def shown_on_the_page() -> str:
    (piece,) = (piece for piece in shown("python") if piece.page.stem == "any-trainer")
    return piece.code


OF_ONES_OWN = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

class TrainerOfOnesOwn(nnUNetTrainer):
    pass
"""


@pytest.mark.parametrize("code", [OF_ONES_OWN, shown_on_the_page()])
def test_a_trainer_in_a_folder_of_ones_own_is_found_and_trains_the_gated_network(
    code, build, plans, tmp_path, monkeypatch
):
    (name,) = re.findall(r"^class (\w+)", code, re.MULTILINE)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / f"{name.lower()}_module.py").write_text(code)
    monkeypatch.setenv("nnUNet_extTrainer", str(folder))
    trainer = build(recursive_find_trainer_class_by_name(name), plans)
    trainer.initialize()
    assert type(trainer).__name__ == name
    assert type(trainer.network) is AttentionUNet


def test_two_bases_that_build_a_network_each_are_refused(build, plans):
    class Both(AttentionUNetTrainer, nnUNetTrainerBN):
        pass

    with pytest.raises(CommandError, match="network of AttentionUNetTrainer, and not that of nnUN"):
        build(Both, plans).initialize()


def test_a_class_that_builds_its_own_network_may_have_two_such_bases(build, plans):
    class Both(AttentionUNetTrainer, nnUNetTrainerBN):
        build_network_architecture = staticmethod(nnUNetTrainerBN.build_network_architecture)

    trainer = build(Both, plans)
    trainer.initialize()
    assert any(isinstance(module, nn.BatchNorm3d) for module in trainer.network.modules())


@pytest.mark.parametrize("name", trainers.__all__)
def test_no_trainer_of_ours_hides_a_network(name):
    assert _builders(getattr(trainers, name))[1] is None
