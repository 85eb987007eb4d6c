"""Plans and a checkpoint that the first code wrote are read today, and mean the same.

`first_release/` was written at revision 4308e51 of this repository, by its conversion of the
smallest plans (features 2, 3, 4) and three steps of its trainer; the expected logits were computed
there. tests/crossval/test_begun_before.py goes on from manifests in the format of that time, which
are written there by hand.
"""

import copy
import json
import lzma
import shutil

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from repository import REPOSITORY
from tiny_trainers import initialized, make_nnunet_folders
from torch import nn
from torch.nn.functional import conv3d, interpolate

from nnunet_attention import AttentionPredictor
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.gate_start import GATE_STARTS
from nnunet_attention.networks.wide import build_plain_network
from nnunet_attention.nnunet.plans import read_plans
from nnunet_attention.prediction.predictor import CasePredictor
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import load_checkpoint

WRITTEN = REPOSITORY / "tests" / "first_release"
# Of the two classes: mean, standard deviation, and the value at voxel (1, 2, 3).
MEAN, DEVIATION, AT_VOXEL = (0.84467, -0.20585), (1.01202, 0.29998), (1.47687, -0.30478)


@pytest.fixture
def model_folder(tmp_path):
    folder = tmp_path / "AttentionUNetTrainer__Attention_nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        shutil.copy(WRITTEN / name, folder)
    packed = (WRITTEN / "checkpoint_final.pth.xz").read_bytes()
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(lzma.decompress(packed))
    return folder


def image() -> torch.Tensor:
    z, y, x = np.mgrid[0:4, 0:8, 0:16].astype(np.float32)
    return torch.from_numpy(np.sin(z + 2 * y + 3 * x).astype(np.float32))[None]


def assert_as_then(logits: torch.Tensor) -> None:
    axes = (1, 2, 3)
    assert logits.mean(axes).tolist() == pytest.approx(MEAN, abs=2e-3)
    assert logits.std(axes).tolist() == pytest.approx(DEVIATION, abs=2e-3)
    assert logits[:, 1, 2, 3].tolist() == pytest.approx(AT_VOXEL, abs=2e-3)


def trainer(model_folder, trainer_class, monkeypatch):
    make_nnunet_folders(model_folder.parent, monkeypatch)
    plans = read_plans(model_folder / "plans.json")
    dataset = json.loads((model_folder / "dataset.json").read_text())
    arguments = ({**copy.deepcopy(plans), "continue_training": True}, "3d_fullres", 0, dataset)
    return initialized(trainer_class(*arguments, torch.device("cpu")))


@pytest.mark.parametrize("predictor_class", [nnUNetPredictor, CasePredictor, AttentionPredictor])
def test_predictions_are_those_of_then(model_folder, predictor_class):
    predictor = predictor_class(
        use_gaussian=False, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(model_folder), (0,), "checkpoint_final.pth")
    assert_as_then(predictor.predict_logits_from_preprocessed_data(image()).float())


def logits_by_hand(weights: dict, plain: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """What the first code computed: the plain network, with the gates' formula written out."""
    decoder = plain.decoder
    *skips, feature = plain.encoder(batch)
    for number, skip in enumerate(reversed(skips)):
        gate = f"decoder.gates.{number}."
        # The full resolution has no gate.
        if f"{gate}theta.weight" in weights:
            theta = weights[f"{gate}theta.weight"]
            inside = conv3d(skip, theta, stride=theta.shape[2:])
            inside += conv3d(feature, weights[f"{gate}phi.weight"], weights[f"{gate}phi.bias"])
            psi = weights[f"{gate}psi.weight"], weights[f"{gate}psi.bias"]
            alpha = conv3d(torch.relu(inside), *psi).sigmoid()
            skip = skip * interpolate(alpha, skip.shape[2:], mode="trilinear", align_corners=False)
        upsampled = decoder.transpconvs[number](feature)
        feature = decoder.stages[number](torch.cat((upsampled, skip), 1))
    return decoder.seg_layers[-1](feature)


@pytest.mark.parametrize("start", GATE_STARTS)
def test_under_every_start_a_model_older_than_starts_predicts_as_then_to_the_bit(
    model_folder, start
):
    weights = load_checkpoint(model_folder / "fold_0" / "checkpoint_final.pth")["network_weights"]
    plans = read_plans(model_folder / "plans.json")
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert "gate_start" not in arguments
    arguments["gate_start"] = start
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    network = build_attention_network(configuration, 1, 2, deep_supervision=False)
    assert network.decoder.gate_start == start
    network.load_state_dict(weights)
    plain = build_plain_network(configuration, 1, 2, deep_supervision=False)
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    with torch.no_grad():
        logits = network.eval()(image()[None])
        assert torch.equal(logits, logits_by_hand(weights, plain.eval(), image()[None]))
    assert_as_then(logits[0])


# Plans name the network, so that nnU-Net's own trainer goes on with it too.
@pytest.mark.parametrize("trainer_class", [AttentionUNetTrainer, nnUNetTrainer])
def test_a_training_goes_on_from_then(model_folder, trainer_class, monkeypatch):
    resumed = trainer(model_folder, trainer_class, monkeypatch)
    resumed.load_checkpoint(str(model_folder / "fold_0" / "checkpoint_final.pth"))
    assert resumed.logger.get_value("train_losses", step=0) == -0.25
    assert resumed.optimizer.state_dict()["state"]
    resumed.set_deep_supervision_enabled(False)
    resumed.network.eval()
    with torch.no_grad():
        assert_as_then(resumed.network(image()[None])[0])


def test_the_checkpoint_is_loaded_without_trust(model_folder):
    checkpoint = load_checkpoint(model_folder / "fold_0" / "checkpoint_final.pth")
    assert checkpoint["trainer_name"] == "AttentionUNetTrainer"
    assert any(name.startswith("decoder.gates.0.psi") for name in checkpoint["network_weights"])
