"""The predictor keeps graphs where it may write, and mirrors as nnU-Net does."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from pointwise_network import initialize, pointwise_plans
from portable_models import dataset_with, model_of, plans_with, write_model
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
    found = [_cache_folder(choice, tmp_path / parent / NAME, MODEL) for parent in ("a", "b")]
    for folder in found:
        assert folder.parent == tmp_path / "cache" / "Dataset900_Minimal"
        assert re.fullmatch(NAME + "-[0-9a-f]{8}", folder.name)
    assert found[0] != found[1]


def test_the_folder_in_a_cache_is_the_models_wherever_one_stands(tmp_path, monkeypatch):
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path / NAME)
    choice = EngineChoice(cache=tmp_path / "cache")
    expected = _cache_folder(choice, tmp_path / NAME, MODEL)
    assert _cache_folder(choice, Path("."), MODEL) == expected


def test_where_nothing_can_be_written_beside_the_folds_the_users_cache_is_taken(
    tmp_path, monkeypatch
):
    (tmp_path / NAME).touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of user"))
    expected = tmp_path / "of user" / "nnunet-attention" / "Dataset900_Minimal"
    assert _cache_folder(EngineChoice(), tmp_path / NAME, MODEL).parent == expected


def test_a_cache_may_be_read_only(tmp_path):
    # It may hold the graphs already; where it does not, they are refused when they are written.
    (tmp_path / "file").touch()
    choice = EngineChoice(cache=tmp_path / "file")
    assert _cache_folder(choice, tmp_path / NAME, MODEL).is_relative_to(tmp_path / "file")


def test_without_a_home_the_remedy_is_told(tmp_path, monkeypatch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / NAME).touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", fail)
    with pytest.raises(CommandError, match="the user has no home; name a folder with --cache"):
        _cache_folder(EngineChoice(), tmp_path / NAME, MODEL)


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


class OfOneNumber(nn.Module):
    """Has the same logit everywhere."""

    def __init__(self, logit: float):
        super().__init__()
        self.logit = logit

    def load_state_dict(self, *_):
        """No weights are held."""

    def forward(self, image):
        return torch.full((1, 2, *image.shape[2:]), self.logit)


@pytest.mark.parametrize(
    ("logit", "message"),
    [
        (float("nan"), r"^case a: the network outputs NaN: its training diverged"),
        # 16 bits, in which nnU-Net adds up, end at 65504.
        (1e6, r"^case a: cannot be predicted: Encountered inf in predicted array"),
    ],
)
def test_logits_that_are_no_numbers_are_an_error_of_their_case(
    logit, message, minimal_plans, tmp_path
):
    predictor = initialize(
        CasePredictor(device=torch.device("cpu")),
        pointwise_plans(minimal_plans),
        OfOneNumber(logit),
        None,
        [{}],
    )
    case = {"data": torch.zeros(1, 4, 8, 16), "ofile": str(tmp_path / "a"), "data_properties": {}}
    with pytest.raises(CommandError, match=message):
        predictor.predict_from_data_iterator([case], num_processes_segmentation_export=0)
    assert not list(tmp_path.iterdir())


class Failing(OfOneNumber):
    """Fails in every pass."""

    def __init__(self, error: Exception):
        super().__init__(0.0)
        self.error = error

    def forward(self, image):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [MemoryError("no room for 9 GiB"), CommandError("no room for 9 GiB")],
    ids=["NumPy's", "an engine's"],
)
def test_a_failing_pass_is_an_error_of_its_case(error, minimal_plans, tmp_path):
    predictor = initialize(
        CasePredictor(device=torch.device("cpu")),
        pointwise_plans(minimal_plans),
        Failing(error),
        None,
        [{}],
    )
    case = {"data": torch.zeros(1, 4, 8, 16), "ofile": str(tmp_path / "a"), "data_properties": {}}
    with pytest.raises(CommandError, match=r"^case a: cannot be predicted: no room for 9 GiB$"):
        predictor.predict_from_data_iterator([case], num_processes_segmentation_export=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("mirroring", "axes", "at_a_time"), [(True, (0, 1, 2), 8), (True, None, 1), (False, (0,), 1)]
)
def test_an_engine_is_told_how_many_passes_come_at_a_time(tmp_path, mirroring, axes, at_a_time):
    model = replace(model_of(plans_with(), dataset_with()), mirroring_axes=axes)
    folder = write_model(tmp_path / NAME, model)
    predictor = CasePredictor(device=torch.device("cpu"), use_mirroring=mirroring)
    predictor.initialize_from_trained_model_folder(folder, 0)
    assert predictor._engine_request.at_a_time == at_a_time


def test_an_unknown_resampling_is_refused():
    with pytest.raises(ValueError, match="resampling 'devise': choose nnunet or device"):
        CasePredictor(device=torch.device("cpu"), resampling="devise")


def test_the_users_home_is_the_last_resort(tmp_path, monkeypatch):
    (tmp_path / NAME).touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = _cache_folder(EngineChoice(), tmp_path / NAME, MODEL)
    assert found.is_relative_to(tmp_path / ".cache")
