"""Our trainers leave out the cases that an interrupted validation has predicted."""

import json

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_attention import trainers
from nnunet_attention.nnunet.kept_cases import VARIABLE


@pytest.fixture
def trainer(monkeypatch):
    """One whose validation is nnU-Net's as far as it asks for its cases."""

    def validate(self, save_probabilities=False):
        self.validated = (self.do_split()[1], save_probabilities)

    monkeypatch.setattr(nnUNetTrainer, "do_split", lambda self: (["t"], ["a", "b", "c"]))
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", validate)
    monkeypatch.setattr(nnUNetTrainer, "print_to_log_file", lambda self, text: None)
    return lambda name="AttentionUNetTrainer": object.__new__(getattr(trainers, name))


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "WideUNetTrainer", "nnUNetTrainer_short"])
def test_cases_that_are_kept_are_not_predicted(name, trainer, monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps(["b"]))
    one = trainer(name)
    one.perform_actual_validation(True)
    assert one.validated == (["a", "c"], True)


def test_a_training_sees_all_cases(trainer, monkeypatch):
    monkeypatch.setenv(VARIABLE, json.dumps(["b"]))
    one = trainer()
    assert one.do_split() == (["t"], ["a", "b", "c"])
    one.perform_actual_validation()
    assert one.do_split() == (["t"], ["a", "b", "c"])


def test_without_the_variable_all_cases_are_predicted(trainer, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    one = trainer()
    one.perform_actual_validation()
    assert one.validated == (["a", "b", "c"], False)
