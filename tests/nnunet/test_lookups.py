"""Misspelt trainers and networks are found out at once, with the names that were meant."""

import os
import subprocess
import sys

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities import find_objects

from nnunet_attention.doorway import SEARCH_PATH_VARIABLE
from nnunet_attention.doorway import directory as doorway_directory
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.lookups import (
    check_network,
    check_trainers,
    find_trainer,
    network_paths,
    trainer_names,
)

NNUNET = "dynamic_network_architectures.architectures.unet"


@pytest.fixture
def own_trainers(tmp_path, monkeypatch):
    """A folder of the user's, before ours."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "mine.py").write_text("class MyTrainer: pass\nAlias = MyTrainer\n")
    (tmp_path / "broken.py").write_text("class Broken(:")
    path = os.pathsep.join([str(tmp_path), doorway_directory()])
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, path)


def test_trainers_of_nnunet_of_ours_and_of_the_user_are_found(own_trainers):
    check_trainers(
        [
            "nnUNetTrainer",
            "nnUNetTrainer_250epochs",
            "nnUNetTrainerDiceCELoss_noSmooth",
            "AttentionUNetTrainer_short",
            "WideUNetTrainer",
            "MyTrainer",
            "Alias",
        ]
    )


def test_a_search_that_imports_while_it_looks_is_made_again(monkeypatch):
    searches = []

    def search(name):
        searches.append(name)
        if len(searches) < 3:
            raise RuntimeError("dictionary changed size during iteration")
        return nnUNetTrainer

    monkeypatch.setattr(find_objects, "recursive_find_trainer_class_by_name", search)
    assert find_trainer("nnUNetTrainer") is nnUNetTrainer
    assert searches == ["nnUNetTrainer"] * 3


def test_every_trainer_of_ours_is_known(own_trainers):
    from nnunet_attention import trainers

    assert set(trainers.__all__) <= trainer_names()


@pytest.mark.filterwarnings("ignore")  # nnU-Net's search for a trainer imports all of its own
def test_a_misspelt_trainer_is_refused_with_those_that_are_like_it(monkeypatch):
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, doorway_directory())
    for name, meant in (
        ("AtentionUNetTrainer", "did you mean AttentionUNetTrainer or "),
        ("nnunettrainer", "did you mean nnUNetTrainer or "),
        ("WideUNetTrainer250epochs", "did you mean WideUNetTrainer_250epochs or "),
        ("SomethingElse", r"no trainer SomethingElse\. Run"),
    ):
        with pytest.raises(CommandError, match=meant):
            check_trainers([name])


def test_a_trainer_that_is_there_is_found_without_importing_torch():
    code = (
        "import sys\nfrom nnunet_attention.nnunet.lookups import check_trainers\n"
        "check_trainers(['AttentionUNetTrainer', 'nnUNetTrainer'])\n"
        "assert not {'torch', 'nnunetv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "path",
    [
        f"{NNUNET}.PlainConvUNet",
        "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet",
        "gone.ResidualEncoderUNet",  # nnU-Net goes by its last name
        "nnunet_attention.networks.AttentionUNet",
        "scipy.somebodys.Network",  # installed, so it may be there
    ],
)
def test_networks_that_nnunet_finds_are_accepted(path):
    check_network(path, "the plans")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (f"{NNUNET}.PlainConvUnet2", f"did you mean {NNUNET}.PlainConvUNet"),
        ("nnunet_attention.networks.AtentionUNet", "did you mean nnunet_attention.networks.Att"),
        (
            "not_installed.networks.Other",
            "Correct the plans, or install the package that contains it",
        ),
        (None, "names the network None"),
    ],
)
def test_a_network_that_is_nowhere_is_refused(path, meant):
    with pytest.raises(CommandError, match=meant):
        check_network(path, "the plans")


def test_the_sources_have_nnunets_networks_and_ours():
    assert {
        f"{NNUNET}.PlainConvUNet",
        f"{NNUNET}.ResidualEncoderUNet",
        "nnunet_attention.networks.AttentionResidualEncoderUNet",
    } <= network_paths()
