"""A hook of a network learns which checkpoint nnU-Net loads into it."""

import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from torch import nn

from nnunet_attention.trainers.loaded_weights import weights_being_loaded


def test_the_checkpoint_is_known_while_nnunet_loads_it_and_no_longer(tmp_path):
    network, seen = nn.Conv3d(1, 2, 1), []
    path = tmp_path / "start.pth"
    torch.save({"network_weights": network.state_dict(), "made_from": 7}, path)
    network.register_load_state_dict_post_hook(lambda *_: seen.append(weights_being_loaded()))
    load_pretrained_weights(network, str(path))
    network.load_state_dict(network.state_dict())
    (found, nothing) = seen
    assert found.path == path
    assert found.checkpoint["made_from"] == 7
    assert nothing is None
