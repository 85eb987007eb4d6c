import json
import os

import pytest
from fake_nnunet import DATASET, nnunet, plan

from nnunet_attention.crossval import check_names
from nnunet_attention.errors import CommandError

__all__ = ["nnunet"]  # the fixture

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts"),
    # nnU-Net's search for a trainer imports all of its own.
    pytest.mark.filterwarnings("ignore"),
]


def name_network(nnunet, name: str) -> None:
    path = nnunet.folders.plans(DATASET, "nnUNetPlans")
    content = json.loads(path.read_text())
    content["configurations"]["3d_fullres"]["architecture"] = {"network_class_name": name}
    path.write_text(json.dumps(content))


def test_names_that_nnunet_will_find_are_taken(nnunet):
    check_names(plan(), nnunet.folders)
    nnunet.prepare()
    name_network(nnunet, "nnunet_attention.networks.AttentionUNet")
    check_names(plan(), nnunet.folders)


def test_a_misspelt_trainer_is_named_with_one_like_it(nnunet):
    with pytest.raises(CommandError, match="no trainer Trainera; did you mean TrainerA"):
        check_names(plan(models=(("Trainera", "nnUNetPlans"),)), nnunet.folders)


def test_a_misspelt_network_is_named_with_its_plans_and_configuration(nnunet):
    nnunet.prepare()
    name_network(nnunet, "nnunet_attention.networks.AttentionUnet")
    with pytest.raises(CommandError, match=r"nnUNetPlans.json, configuration 3d_fullres"):
        check_names(plan(), nnunet.folders)
    check_names(plan(configurations=("3d_lowres",)), nnunet.folders)


def test_a_description_without_channels_is_refused(nnunet):
    path = nnunet.folders.raw_dataset(DATASET) / "dataset.json"
    content = json.loads(path.read_text())
    del content["channel_names"]
    path.write_text(json.dumps(content))
    with pytest.raises(CommandError, match="channel_names"):
        check_names(plan(), nnunet.folders)
