"""Trainers of the smallest plans in folders of their own."""

import pytest
from tiny_trainers import build_trainer, make_nnunet_folders


@pytest.fixture
def build(tmp_path, monkeypatch, minimal_plans):
    """Returns a function that builds a trainer of a class, by default with the smallest plans."""
    make_nnunet_folders(tmp_path, monkeypatch)
    return lambda trainer_class, plans=minimal_plans: build_trainer(trainer_class, plans)
