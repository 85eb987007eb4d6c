"""Fixtures for tests with networks of a few channels."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small take several times longer on several threads, waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
