"""The predictor keeps graphs where it may write, and mirrors as nnU-Net does."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from pointwise_network import initialize, pointwise_plans
from torch import nn

from nnunet_attention.engines import EngineChoice, EngineNetwork
from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.predictor import CasePredictor, _cache_folder

MODEL = SimpleNamespace(plans_manager=SimpleNamespace(dataset_name="Dataset900_Minimal"))
NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def test_graphs_are_kept_beside_the_folds(tmp_path):
    assert _cache_folder(EngineChoice(), tmp_path / NAME, MODEL) == tmp_path / NAME / "engines"
    # The folder is made when there is something to keep.
    assert not (tmp_path / NAME).exists()


def test_each_model_has_a_folder_of_its_own_in_a_cache(tmp_path):
    choice = EngineChoice(cache=tmp_path / "cache")
    expected = tmp_path / "cache" / "Dataset900_Minimal" / NAME
    assert _cache_folder(choice, tmp_path / NAME, MODEL) == expected


def test_where_nothing_can_be_written_beside_the_folds_the_users_cache_is_taken(
    tmp_path, monkeypatch
):
    (tmp_path / NAME).touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of user"))
    expected = tmp_path / "of user" / "nnunet-attention" / "Dataset900_Minimal" / NAME
    assert _cache_folder(EngineChoice(), tmp_path / NAME, MODEL) == expected


def test_a_cache_that_takes_nothing_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"--cache: cannot write in .*file"):
        _cache_folder(EngineChoice(cache=tmp_path / "file"), tmp_path / NAME, MODEL)


class FakeSession:
    """Runs a module as an engine would."""

    output_names = ("logits",)

    def __init__(self, network: nn.Module):
        self.network = network

    def run(self, passes):
        for inputs in passes:
            yield [self.network(torch.from_numpy(inputs["image"])).numpy()]

    def rest(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("mirroring", [(0, 1, 2), (0, 2), ()])
def test_passes_of_an_engine_are_summed_to_the_last_bit_as_nnunet_does(minimal_plans, mirroring):
    torch.manual_seed(0)
    # Not equal to its mirror image.
    network = nn.Conv3d(1, 2, 3, padding=1)
    plans = pointwise_plans(minimal_plans)
    image = torch.randn(1, 1, 4, 8, 16)
    predictions = []
    for kind, stand_in in (
        (nnUNetPredictor, network),
        (CasePredictor, EngineNetwork([FakeSession(network)], "fake")),
    ):
        predictor = initialize(
            kind(device=torch.device("cpu")), plans, stand_in, mirroring or None, [{}]
        )
        predictions.append(predictor._internal_maybe_mirror_and_predict(image))
    assert torch.equal(*predictions)


def test_the_users_home_is_the_last_resort(tmp_path, monkeypatch):
    (tmp_path / NAME).touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = _cache_folder(EngineChoice(), tmp_path / NAME, MODEL)
    assert found.is_relative_to(tmp_path / ".cache")
