import copy

import pytest

from nnunet_attention.networks import UnsupportedNetworkError
from nnunet_attention.plans import gated_architecture


@pytest.fixture
def architecture(minimal_plans):
    return minimal_plans["configurations"]["3d_fullres"]["architecture"]


def test_the_gated_network_takes_the_place_of_the_plain_one(architecture):
    before = copy.deepcopy(architecture)
    gated = gated_architecture(architecture, output_transform=True)
    assert architecture == before
    assert gated == {
        **before,
        "network_class_name": "nnunet_attention.networks.AttentionUNet",
        "arch_kwargs": {
            **before["arch_kwargs"],
            "gate_full_resolution": False,
            "output_transform": True,
        },
    }


def test_the_start_of_the_gates_is_written_only_where_it_is_chosen(architecture):
    assert "gate_start" not in gated_architecture(architecture)["arch_kwargs"]
    gated = gated_architecture(architecture, gate_start="he")
    assert gated["arch_kwargs"]["gate_start"] == "he"


def test_gates_that_are_there_keep_the_options_that_are_not_given(architecture):
    there = gated_architecture(
        architecture, gate_full_resolution=True, output_transform=True, gate_start="open"
    )
    assert gated_architecture(there) == there
    changed = gated_architecture(there, output_transform=False, gate_start="he")["arch_kwargs"]
    options = {"gate_full_resolution": True, "output_transform": False, "gate_start": "he"}
    assert changed == {**there["arch_kwargs"], **options}


def test_another_network_is_refused(architecture):
    with pytest.raises(UnsupportedNetworkError, match="Primus"):
        gated_architecture({**architecture, "network_class_name": "somewhere.Primus"})
