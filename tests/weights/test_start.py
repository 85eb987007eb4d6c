"""Checkpoints to start a training from are made for plans, with gates and without, or refused."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from nnssl_checkpoints import (
    ARGUMENTS,
    CITATIONS,
    ONLY_NAMED,
    nnssl_checkpoint,
    plans_like_source,
    source_network,
)
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerBN import (
    nnUNetTrainerBN,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plain_checkpoints import DATASET_JSON, network_of, plain_checkpoint, plans_of, random_image
from shared_data import PLANS, needs, reference_configurations

from nnunet_attention.cli.upgrade import print_adaptation
from nnunet_attention.errors import CommandError
from nnunet_attention.networks.wide import build_plain_network
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import read_source
from nnunet_attention.weights.guided_start import guided_start
from nnunet_attention.weights.start import (
    adaptation_to,
    check_share,
    read_target,
    start_checkpoint,
    start_from,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def target_of(folder: Path, plans: dict, dataset_json: dict = DATASET_JSON):
    folder.mkdir(exist_ok=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    return read_target(folder / "nnUNetPlans.json", "3d_fullres")


@pytest.fixture
def source_of(tmp_path):
    def saved(content: dict):
        torch.save(content, tmp_path / "source.pth")
        return read_source(tmp_path / "source.pth")

    return saved


def test_with_and_without_gates_the_start_is_the_same(source_of, tmp_path, minimal_plans):
    source = source_of(nnssl_checkpoint(source_network(dtype=torch.float64)))
    target = target_of(tmp_path / "data", plans_like_source(minimal_plans))
    image = random_image(target.plans, torch.float64)
    logits = []
    for gated in (True, False):
        network = start_from(source, target, gated=gated).network.eval()
        with torch.no_grad():
            logits.append(network(image))
    for gated, plain in zip(*logits, strict=True):
        assert plain.dtype == torch.float64
        assert plain.std() > 1e-4
        assert (gated - plain).abs().max() == 0


@pytest.mark.parametrize("gated", [True, False])
def test_nnunet_takes_the_checkpoint_as_pretrained_weights(
    source_of, tmp_path, minimal_plans, gated
):
    target = target_of(tmp_path / "data", plans_like_source(minimal_plans))
    start = start_from(source_of(nnssl_checkpoint()), target, gated=gated)
    path = tmp_path / "start.pth"
    torch.save(start_checkpoint(start, target, gated=gated), path)
    trainer = AttentionUNetTrainer if gated else nnUNetTrainer
    network = network_of(trainer, target.plans)
    heads = deepcopy(network.state_dict())
    load_pretrained_weights(network, str(path))
    for name, value in start.network.state_dict().items():
        wanted = heads[name] if ".seg_layers." in name else value
        assert torch.equal(network.state_dict()[name], wanted), name


def test_plans_of_the_development_branch_that_only_name_the_network_are_a_target(
    source_of, tmp_path, minimal_plans, monkeypatch
):
    monkeypatch.setattr("nnunet_attention.nnunet.pretraining._RESENC_L", ARGUMENTS)
    plans = plans_like_source(minimal_plans)
    plans["configurations"]["3d_fullres"]["architecture"] = ONLY_NAMED
    start = start_from(source_of(nnssl_checkpoint()), target_of(tmp_path / "data", plans))
    assert start.adaptation.encoder_share == 1


def test_into_its_own_plans_a_checkpoint_goes_exactly(source_of, tmp_path, minimal_plans):
    plans = plans_of(minimal_plans, "plain 3d anisotropic")
    checkpoint = plain_checkpoint(plans)
    start = start_from(source_of(checkpoint), target_of(tmp_path / "data", plans))
    assert start.difference == 0
    assert start.adaptation.is_whole
    name = "decoder.seg_layers.0.weight"
    assert torch.equal(start.network.state_dict()[name], checkpoint["network_weights"][name])


def test_gated_plans_of_the_same_network_are_its_own(source_of, tmp_path, minimal_plans):
    plans = deepcopy(minimal_plans)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
    architecture["arch_kwargs"]["gate_full_resolution"] = True
    start = start_from(
        source_of(plain_checkpoint(minimal_plans)), target_of(tmp_path / "data", plans)
    )
    assert start.difference == 0
    assert "decoder.gates.1.psi.weight" in start.network.state_dict()


def test_a_trainer_with_a_network_of_its_own_is_no_exact_source(source_of, tmp_path, minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans, trainer=nnUNetTrainerBN)
    start = start_from(source_of(checkpoint), target_of(tmp_path / "data", minimal_plans))
    assert start.difference is None
    left = {o.name for o in start.adaptation.outcomes if o.outcome == "left out"}
    assert "encoder.stages.0.0.convs.0.norm.running_mean" in left


def test_new_classes_start_with_new_heads_only(source_of, tmp_path, minimal_plans):
    described = {**DATASET_JSON, "labels": {"background": 0, "organ": 1}}
    target = target_of(tmp_path / "data", minimal_plans, described)
    start = start_from(source_of(plain_checkpoint(minimal_plans)), target)
    new = {o.name for o in start.adaptation.outcomes if o.outcome == "new"}
    assert {name.rsplit(".", 2)[0] for name in new if ".gates." not in name} == {
        "decoder.seg_layers"
    }
    assert start.difference is None


@pytest.mark.parametrize(("least", "is_enough"), [(None, True), (0.2, True), (0.99, False)])
def test_too_little_is_refused(source_of, tmp_path, minimal_plans, least, is_enough):
    plans = plans_like_source(minimal_plans, features_per_stage=[4, 6, 9])
    source = source_of(nnssl_checkpoint())
    adaptation = adaptation_to(source, target_of(tmp_path / "data", plans))
    assert 0.2 < adaptation.encoder_share < 0.99
    if is_enough:
        check_share(adaptation, source, least)
    else:
        with pytest.raises(
            CommandError, match=r"--least 0\.99: only [\d.]+% of the encoder's weights"
        ):
            check_share(adaptation, source, least)


def test_nothing_is_refused_after_the_table(source_of, tmp_path, minimal_plans):
    target = target_of(tmp_path / "data", plans_like_source(minimal_plans))
    source = source_of(plain_checkpoint(minimal_plans))
    seen = []
    with pytest.raises(CommandError, match=r"nothing in .* fits the encoder"):
        guided_start(
            source.path, tmp_path / "new.pth", target.path, "3d_fullres", on_adaptation=seen.append
        )
    assert len(seen) == 1
    assert not (tmp_path / "new.pth").exists()


def test_people_are_told_how_to_train_and_what_to_cite(source_of, tmp_path, minimal_plans):
    target = target_of(tmp_path / "Dataset900_Minimal", plans_like_source(minimal_plans))
    path = source_of(nnssl_checkpoint()).path
    lines = guided_start(path, tmp_path / "new.pth", target.path, "3d_fullres", gated=False)
    assert lines[0] == f"wrote {tmp_path / 'new.pth'}"
    assert lines[1].splitlines()[1] == (
        "  nnUNetv2_train Dataset900_Minimal 3d_fullres 0 -p nnUNetPlans "
        f"-tr PlainUNetFinetuneTrainer -pretrained_weights {tmp_path / 'new.pth'}"
    )
    assert lines[2] == "Please cite the sources of the pretrained weights:"
    content = torch.load(tmp_path / "new.pth", weights_only=True)
    assert content["pretrained_from"]["citations"] == CITATIONS
    assert content["pretrained_from"]["encoder_share"] == 1
    # What is made of it once more is to be cited, too.
    assert list(read_source(tmp_path / "new.pth").citations) == CITATIONS


@pytest.fixture(scope="module")
def hippocampus(tmp_path_factory):
    """A checkpoint of stock nnU-Net's network for MSD Task04, with random weights."""
    folder = PLANS / "PlainConvUNet" / "Dataset004_Hippocampus"
    target = read_target(folder / "plans.json", "3d_fullres")
    configuration = PlansManager(deepcopy(target.plans)).get_configuration("3d_fullres")
    checkpoint = {
        "network_weights": build_plain_network(configuration, 1, 3).state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {
            "plans": target.plans,
            "configuration": "3d_fullres",
            "dataset_json": target.dataset_json,
        },
    }
    path = tmp_path_factory.mktemp("hippocampus") / "checkpoint_final.pth"
    torch.save(checkpoint, path)
    return read_source(path)


@needs(PLANS)
@pytest.mark.slow
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(
    ("path", "configuration"),
    reference_configurations(),
    ids=lambda value: value if isinstance(value, str) else "-".join(value.parts[-3:-1]),
)
def test_hippocampus_goes_into_all_reference_plans_or_is_refused(
    hippocampus, path, configuration, gated, capsys
):
    target = read_target(path, configuration)
    if configuration == "2d":
        with pytest.raises(CommandError, match="holds a 3-D network"):
            adaptation_to(hippocampus, target, gated=gated)
        return
    adaptation = adaptation_to(hippocampus, target, gated=gated)
    rows = [o for o in adaptation.outcomes if o.outcome != "left out"]
    assert len({o.name for o in rows}) == len(rows)
    assert any("decoder.gates." in o.name for o in rows) == gated
    assert all(o.reason for o in adaptation.outcomes if o.outcome != "taken")
    print_adaptation(adaptation)
    printed = capsys.readouterr().out
    assert all(o.name in printed for o in adaptation.outcomes)
    assert f"{adaptation.encoder_share:.1%} of the encoder's weights" in printed
    # The first four stages of the plain networks are as wide as those of Hippocampus.
    if "ResEnc" in str(path):
        with pytest.raises(CommandError, match=r"nothing in .* fits the encoder"):
            check_share(adaptation, hippocampus, None)
    else:
        check_share(adaptation, hippocampus, 0.1)


@needs(PLANS)
@pytest.mark.slow
def test_hippocampus_goes_into_its_own_plans_exactly(hippocampus):
    path = PLANS / "PlainConvUNet" / "Dataset004_Hippocampus" / "plans.json"
    start = start_from(hippocampus, read_target(path, "3d_fullres"))
    assert start.difference == 0
    assert start.adaptation.is_whole


def test_a_start_without_mirroring_goes_on_without(source_of, tmp_path, minimal_plans):
    target = target_of(tmp_path / "Dataset900_Minimal", plans_like_source(minimal_plans))
    checkpoint = {
        **plain_checkpoint(plans_like_source(minimal_plans)),
        "inference_allowed_mirroring_axes": None,
    }
    path = source_of(checkpoint).path
    found = []
    lines = guided_start(
        path, tmp_path / "new.pth", target.path, "3d_fullres", on_adaptation=found.append
    )
    assert any("-tr AttentionUNetFinetuneTrainer_noMirroring -pret" in line for line in lines)
    assert "trained without mirroring" in found[0].notes[-1]
