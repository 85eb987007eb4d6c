"""nnU-Net's development branch fine-tunes our networks, and its renamed parameter is understood."""

import importlib.util
import inspect

import pytest
import torch
from nnssl_checkpoints import nnssl_checkpoint, plans_like_source, save_nnssl, source_network
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.nnunet.pretraining import (
    CHECKPOINT_DIGEST,
    pretrain_info,
    read_adaptation_plan,
)
from nnunet_attention.weights import read_source
from nnunet_attention.weights.adaptation import adapt, load_adapted

_PRETRAINING = "nnunetv2.training.nnUNetTrainer.pretraining"
has_pretraining = pytest.mark.skipif(
    importlib.util.find_spec(_PRETRAINING) is None,
    reason="this nnunetv2 has no trainers for pretrained weights; its development branch has",
)


@pytest.fixture
def plans(tmp_path, minimal_plans) -> dict:
    """Plans of the gated network that name a pretraining's checkpoint, as `plan --like` does."""
    plans = plans_like_source(minimal_plans)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionResidualEncoderUNet"
    plans["pretrain_info"] = read_source(save_nnssl(tmp_path / "mae.pth")).as_pretrain_info()
    return plans


def test_a_checkpoint_is_gone_on_with_under_either_name_of_the_parameter(build, plans, tmp_path):
    """Releases call it filename_or_checkpoint, the development branch checkpoint."""
    (name,) = [
        name
        for name in inspect.signature(nnUNetTrainer.load_checkpoint).parameters
        if name != "self"
    ]
    assert name in ("filename_or_checkpoint", "checkpoint")
    trainer = initialized(build(trainers.AttentionUNetFinetuneTrainer, plans))
    trainer.current_epoch = 6
    path = str(tmp_path / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    for given, named in (((path,), {}), ((), {name: path})):
        resumed = build(trainers.AttentionUNetFinetuneTrainer, plans)
        resumed.load_checkpoint(*given, **named)
        assert resumed.current_epoch == 7


@has_pretraining
@pytest.mark.parametrize("dynamic", [False, True])
def test_its_trainers_take_the_gated_network_and_our_plans(build, plans, dynamic):
    module, name = (
        ("dynamicPretrainedTrainer", "DynamicPretrainedTrainer")
        if dynamic
        else ("pretrainedTrainer", "PretrainedTrainer")
    )
    trainer_class = getattr(importlib.import_module(f"{_PRETRAINING}.{module}"), name)
    trainer = initialized(build(trainer_class, plans))
    assert any("gates" in name for name in trainer.network.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        found, wanted = trainer.network.encoder(image), source_network().encoder(image)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()
    batch = {
        "data": torch.randn(2, 1, 16, 16, 16),
        "target": torch.randint(0, 2, (2, 1, 16, 16, 16)).float(),
    }
    assert torch.isfinite(torch.as_tensor(trainer.train_step(batch)["loss"]))


@has_pretraining
def test_it_repeats_channels_as_we_do(plans, tmp_path):
    from nnunetv2.training.nnUNetTrainer.pretraining.pretrainedTrainer import PretrainedTrainer

    info = plans["pretrain_info"]
    configuration = PlansManager(plans).get_configuration("3d_fullres")

    def built():
        return PretrainedTrainer.build_network_architecture(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            configuration.patch_size,
            3,
            2,
        )

    theirs, _ = PretrainedTrainer.load_pretrained_weights(
        built(),
        info["checkpoint_path"],
        info["pt_num_in_channels"],
        3,
        info["pt_used_patchsize"],
        configuration.patch_size,
        info["key_to_encoder"],
        info["key_to_stem"],
        tuple(info["keys_to_in_proj"]),
        info["key_to_lpe"],
    )
    ours = built()
    load_adapted(ours, adapt(read_source(tmp_path / "mae.pth"), ours, 3))
    for name, value in theirs.encoder.state_dict().items():
        assert torch.equal(ours.encoder.state_dict()[name], value), name


@has_pretraining
def test_it_writes_the_entry_of_plans_that_we_write(tmp_path):
    from nnunetv2.experiment_planning import like_nnssl

    pretraining = read_adaptation_plan(nnssl_checkpoint()["nnssl_adaptation_plan"], "f")
    checkpoint = save_nnssl(tmp_path / "mae.pth")
    info = pretrain_info(checkpoint, "b", 1, (16, 16, 16), [], pretraining=pretraining)
    source = inspect.getsource(like_nnssl.preprocess_like_nnssl)
    # The digest is ours.
    assert all(f'"{name}": ' in source for name in info.keys() - {CHECKPOINT_DIGEST})
