"""Nothing that plans name is imported or called before it is known to be nnU-Net's or torch's."""

import json
import sys
from functools import partial

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plain_checkpoints import plain_checkpoint

from nnunet_attention.cli import main
from nnunet_attention.cost.parameters import count_parameters
from nnunet_attention.errors import CommandError
from nnunet_attention.maps import AttentionPredictor
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.trusted_plans import check_plans
from nnunet_attention.networks.wide import build_plain_network, build_wide_network
from nnunet_attention.plans import converted_plans
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import save_checkpoint, upgrade_checkpoint

# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")

DATASET_JSON = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "numTraining": 5,
    "file_ending": ".nii.gz",
}
NNUNET = "dynamic_network_architectures.architectures.unet"


def architecture_of(plans: dict) -> dict:
    return plans["configurations"]["3d_fullres"]["architecture"]


@pytest.fixture
def folder(tmp_path, minimal_plans):
    """A model's folder whose checkpoint is of the harmless plans."""
    (tmp_path / "fold_0").mkdir()
    checkpoint = plain_checkpoint(minimal_plans, trainer=AttentionUNetTrainer)
    save_checkpoint(checkpoint, tmp_path / "fold_0" / "checkpoint_final.pth")
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return tmp_path


def described(plans, folder):
    return main(["describe", str(folder / "plans.json")])


def mapped(plans, folder):
    AttentionPredictor(device=torch.device("cpu")).initialize_from_trained_model_folder(
        folder, (0,)
    )


def counted(trainer, plans, folder):
    return count_parameters(trainer, plans, folder / "dataset.json", "3d_fullres")


def upgraded(plans, folder):
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    checkpoint["network_weights"] = {"a": torch.zeros(1)}
    upgrade_checkpoint({**checkpoint, "init_args": {**checkpoint["init_args"], "plans": plans}})


def built(build, plans, folder):
    build(PlansManager(plans).get_configuration("3d_fullres"), 2, 3)


WAYS = {
    "describe": described,
    "maps": mapped,
    "leaderboard with our trainer": partial(counted, "AttentionUNetTrainer"),
    "leaderboard with the wide trainer": partial(counted, "WideUNetTrainer"),
    "leaderboard with nnU-Net's trainer": partial(counted, "nnUNetTrainer"),
    "upgrade": upgraded,
    "plan --from": lambda plans, folder: converted_plans(plans, "Attention_nnUNetPlans"),
    "build_attention_network": partial(built, build_attention_network),
    "build_plain_network": partial(built, build_plain_network),
    "build_wide_network": partial(built, build_wide_network),
}


def refused(way, plans, folder, capsys) -> str:
    """The one line that a way of reading the plans ends with."""
    (folder / "plans.json").write_text(json.dumps(plans))
    try:
        code = WAYS[way](plans, folder)
    except CommandError as error:
        return str(error)
    assert code == 1
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    return message


@pytest.mark.parametrize("way", WAYS)
def test_a_command_in_the_plans_is_not_run(way, folder, minimal_plans, capsys):
    marker = folder / "executed"
    architecture_of(minimal_plans)["arch_kwargs"].update(
        nonlin="subprocess.Popen", nonlin_kwargs={"args": f"echo > {marker}", "shell": True}
    )
    message = refused(way, minimal_plans, folder, capsys)
    assert "the plans name subprocess.Popen for nonlin, which will not be imported" in message
    assert not marker.exists()


@pytest.mark.parametrize("place", ["network_class_name", "norm_op", "n_stages", "features"])
@pytest.mark.parametrize("way", WAYS)
def test_a_module_in_the_plans_is_not_imported(
    way, place, folder, minimal_plans, capsys, monkeypatch
):
    marker = folder / "executed"
    (folder / "hostile_module.py").write_text(f"open({str(marker)!r}, 'w')\nclass PlainConvUNet: 0")
    monkeypatch.syspath_prepend(folder)
    architecture = architecture_of(minimal_plans)
    path = "hostile_module.PlainConvUNet"
    if place == "network_class_name":
        architecture[place] = path
    else:
        architecture["arch_kwargs"][place] = path
        architecture["_kw_requires_import"].append(place)
    assert path in refused(way, minimal_plans, folder, capsys)
    assert not marker.exists()
    assert "hostile_module" not in sys.modules


def test_the_hostile_module_of_these_tests_would_be_imported(tmp_path, monkeypatch):
    (tmp_path / "hostile_module.py").write_text(
        f"open({str(tmp_path / 'executed')!r}, 'w').close()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("hostile_module")
    del sys.modules["hostile_module"]
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "path",
    [
        "torch.nn.init.torch.jit.ScriptModule",  # a module, but not torch.nn's
        "torch.nn.functional.relu",
        "torch.nn.modules.module.os.system",
        "torch.nn",
        "LeakyReLU",
        ["torch.nn.LeakyReLU"],
        3,
    ],
)
def test_what_is_no_layer_of_torch_is_refused(path, minimal_plans):
    architecture_of(minimal_plans)["arch_kwargs"]["nonlin"] = path
    with pytest.raises(CommandError, match="for nonlin, which will not be imported"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize(
    "path",
    [
        "torch.nn.GELU",
        "torch.nn.modules.activation.SiLU",
        "dynamic_network_architectures.building_blocks.regularization.DropPath",
    ],
)
def test_other_layers_of_torch_and_of_nnunets_networks_are_accepted(path, minimal_plans):
    architecture_of(minimal_plans)["arch_kwargs"].update(nonlin=path, nonlin_kwargs={})
    check_plans(minimal_plans, "3d_fullres")
    configuration = PlansManager(minimal_plans).get_configuration("3d_fullres")
    network = build_attention_network(configuration, 1, 2)
    assert any(type(module).__name__ == path.split(".")[-1] for module in network.modules())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label_manager", "join"),
        ("image_reader_writer", "np"),
        ("image_reader_writer", "os.system"),
        ("preprocessor_name", "multiprocessing"),
        ("normalization_schemes", ["ZScoreNormalization", "np"]),
        ("resampling_fn_probabilities", "map_coordinates"),  # scipy's, with the plans' arguments
        ("resampling_fn_data", 7),
    ],
)
def test_names_of_nnunets_classes_that_lead_elsewhere_are_refused(name, value, minimal_plans):
    place = minimal_plans
    if name not in ("label_manager", "image_reader_writer"):
        place = minimal_plans["configurations"]["3d_fullres"]
    place[name] = value
    with pytest.raises(CommandError, match=f"for {name}; expected a"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize("name", ["../../home", "/tmp/x", "..", "", None, "a/b"])
def test_data_are_not_looked_for_outside_the_data_set(name, minimal_plans):
    minimal_plans["configurations"]["3d_fullres"]["data_identifier"] = name
    with pytest.raises(CommandError, match="for data_identifier; expected a name without folders"):
        check_plans(minimal_plans, "3d_fullres")


def test_plans_that_name_no_data_are_refused(minimal_plans):
    del minimal_plans["configurations"]["3d_fullres"]["data_identifier"]
    with pytest.raises(CommandError, match="have None for data_identifier"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize("way", ["describe", "maps", "leaderboard with our trainer", "upgrade"])
@pytest.mark.parametrize(
    "change",
    [
        {"features_per_stage": "many"},
        {"strides": [[1, 1, 1]]},
        {"n_stages": 10**9},
        {"n_conv_per_stage": [1, 1, 10**6]},
        {"features_per_stage": [4, 6, 10**12]},
        {"kernel_sizes": None},
        {"norm_op_kwargs": {"eps": {}, "unknown": 1}},
    ],
)
def test_malformed_plans_end_in_one_line(way, change, folder, minimal_plans, capsys):
    architecture_of(minimal_plans)["arch_kwargs"].update(change)
    message = refused(way, minimal_plans, folder, capsys)
    assert "plans" in message


def test_a_checkpoints_trainer_is_a_trainer(folder, minimal_plans):
    (folder / "plans.json").write_text(json.dumps(minimal_plans))
    path = folder / "fold_0" / "checkpoint_final.pth"
    for name in ("os", "nnUNetLogger", "os.system", "AtentionUNetTrainer"):
        checkpoint = plain_checkpoint(minimal_plans, trainer=AttentionUNetTrainer)
        save_checkpoint({**checkpoint, "trainer_name": name}, path)
        with pytest.raises(CommandError, match=f"nnU-Net finds no trainer {name}"):
            mapped(minimal_plans, folder)
