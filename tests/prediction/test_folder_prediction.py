"""A device is prepared as nnU-Net prepares it."""

import pytest
import torch

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.folder_prediction import prepared_device


@pytest.fixture
def threads(monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    return set_to


@pytest.mark.parametrize(("cpus", "name"), [(6, "cpu"), (1, "cuda")])
def test_threads_are_those_of_nnunets_prediction(cpus, name, threads, monkeypatch):
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prepared_device(name) == torch.device(name)
    assert threads == [cpus]


@pytest.mark.parametrize(("name", "what"), [("cuda", "GPU"), ("mps", "Apple GPU")])
def test_a_device_that_is_not_there_is_refused(name, what, threads, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(CommandError, match=f"-device {name}: torch finds no {what}; use -device"):
        prepared_device(name)
    assert not threads
