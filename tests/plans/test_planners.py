"""Our planners against nnU-Net's on the same fingerprint."""

import json
import os

import pytest
from fingerprinted_dataset import DATASET_JSON, NAME, write_fingerprinted_dataset
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (  # noqa: E501 the module's name is that long
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from stock_plans import (
    MIN_BATCH,
    assert_as_stock_where_that_fits,
    gigabytes_per_case,
    voxels_per_batch,
)

from nnunet_attention.cost import vram_reference
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE
from nnunet_attention.plans import (
    PLANNERS,
    AttentionResEncUNetPlannerL,
    AttentionResEncUNetPlannerM,
    AttentionResEncUNetPlannerXL,
    AttentionUNetPlanner,
)

PAIRS = {
    AttentionUNetPlanner: (ExperimentPlanner, "AttentionUNetPlans", 8),
    AttentionResEncUNetPlannerM: (nnUNetPlannerResEncM, "AttentionResEncUNetMPlans", 8),
    AttentionResEncUNetPlannerL: (nnUNetPlannerResEncL, "AttentionResEncUNetLPlans", 24),
    AttentionResEncUNetPlannerXL: (nnUNetPlannerResEncXL, "AttentionResEncUNetXLPlans", 40),
}
each_planner = pytest.mark.parametrize("planner", PAIRS, ids=lambda planner: planner.__name__)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Images so small that the whole of one fits into the patch."""
    return write_fingerprinted_dataset(tmp_path, monkeypatch, (40, 64, 80), (3, 2, 1))


@pytest.fixture
def medium(tmp_path, monkeypatch):
    """Images so large that the patch has to shrink, but not so that 3d_lowres is planned."""
    return write_fingerprinted_dataset(tmp_path, monkeypatch, (100, 220, 200), (2, 1, 1))


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Images so large that 3d_lowres is planned."""
    return write_fingerprinted_dataset(tmp_path, monkeypatch, (180, 520, 500), (2, 0.8, 0.8))


def as_json(plans: dict) -> dict:
    return json.loads(json.dumps(plans))


def smallest_batch_gb(plans: dict, gates: bool) -> float:
    return MIN_BATCH * gigabytes_per_case(plans, "3d_fullres", DATASET_JSON, gates)


@each_planner
def test_planner_names_plans_and_network(planner, small):
    plans = planner(NAME).plan_experiment()
    _, plans_name, _ = PAIRS[planner]
    assert plans["plans_name"] == plans_name
    assert plans["experiment_planner_used"] == planner.__name__
    assert "__" not in planner.__name__ + plans_name
    assert json.loads((small / f"{plans_name}.json").read_text()) == as_json(plans)
    residual = "Res" in planner.__name__
    for configuration in plans["configurations"].values():
        architecture = configuration["architecture"]
        assert architecture["network_class_name"] == (
            "nnunet_attention.networks.AttentionResidualEncoderUNet"
            if residual
            else "nnunet_attention.networks.AttentionUNet"
        )
        assert architecture["arch_kwargs"]["gate_full_resolution"] is False
        assert architecture["arch_kwargs"]["output_transform"] is False


def test_nothing_but_names_and_network_differ_where_the_stock_plans_fit(small):
    stock = ExperimentPlanner(NAME).plan_experiment()
    ours = AttentionUNetPlanner(NAME).plan_experiment()
    assert ours["configurations"].keys() == stock["configurations"].keys() == {"2d", "3d_fullres"}
    for name, configuration in stock["configurations"].items():
        mine = ours["configurations"][name]
        assert {**mine, "architecture": None} == {**configuration, "architecture": None}
        arguments = dict(mine["architecture"]["arch_kwargs"])
        del arguments["gate_full_resolution"], arguments["output_transform"]
        assert arguments == configuration["architecture"]["arch_kwargs"]
    names = {"plans_name", "experiment_planner_used", "configurations"}
    assert {k: v for k, v in ours.items() if k not in names} == {
        k: v for k, v in stock.items() if k not in names
    }


@pytest.mark.slow
@each_planner
def test_patch_and_batch_are_the_stock_planners_where_those_fit(planner, small):
    stock = PAIRS[planner][0](NAME).plan_experiment()
    ours = planner(NAME).plan_experiment()
    fitting = assert_as_stock_where_that_fits(stock, ours, DATASET_JSON, PAIRS[planner][2])
    assert "3d_fullres" in fitting


def test_a_patch_that_fits_only_without_gates_becomes_smaller(medium):
    stock = ExperimentPlanner(NAME).plan_experiment()
    without_gates = smallest_batch_gb(stock, gates=False)
    with_gates = smallest_batch_gb(stock, gates=True)
    assert without_gates < with_gates
    target = (without_gates + with_gates) / 2
    ours = AttentionUNetPlanner(NAME, target).plan_experiment()
    assert smallest_batch_gb(ours, gates=True) <= target
    assert voxels_per_batch(ours["configurations"]["3d_fullres"]) < voxels_per_batch(
        stock["configurations"]["3d_fullres"]
    )


@each_planner
def test_cost_knows_the_reference_values_of_the_planner(planner, small):
    stock_class, _, target_gb = PAIRS[planner]
    for found in (planner(NAME), stock_class(NAME)):
        reference = vram_reference(type(found).__name__, "")
        assert reference.values_2d == found.UNet_reference_val_2d
        assert reference.values_3d == found.UNet_reference_val_3d
        assert reference.gigabytes == found.UNet_reference_val_corresp_GB
        assert found.UNet_vram_target_GB == target_gb
        assert found.UNet_reference_val_corresp_bs_2d == 12
        assert found.UNet_reference_val_corresp_bs_3d == 2


@pytest.mark.slow
def test_stock_data_are_shared_where_preprocessing_is_the_same(large):
    configurations = AttentionUNetPlanner(NAME).plan_experiment()["configurations"]
    assert configurations["2d"]["data_identifier"] == "nnUNetPlans_2d"
    assert configurations["3d_fullres"]["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert configurations["3d_lowres"]["data_identifier"] == "AttentionUNetPlans_3d_lowres"
    assert configurations["3d_cascade_fullres"] == {
        "inherits_from": "3d_fullres",
        "previous_stage": "3d_lowres",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"overwrite_target_spacing": [3.0, 2.0, 2.0]},
        {"preprocessor_name": "OtherPreprocessor"},
        {"suppress_transpose": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_preprocessing_gets_data_of_its_own(change, small):
    planner = AttentionUNetPlanner(NAME, **change)
    assert planner.generate_data_identifier("3d_fullres") == "AttentionUNetPlans_3d_fullres"


def test_options_reach_plans_and_estimate(small):
    options = {"gate_full_resolution": True, "output_transform": True}
    plain = AttentionUNetPlanner(NAME)
    with_options = AttentionUNetPlanner(NAME, plans_name="Other", **options)
    plans = with_options.plan_experiment()
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    assert options.items() <= architecture["arch_kwargs"].items()
    stock = ExperimentPlanner(NAME).plan_experiment()["configurations"]["3d_fullres"]
    estimates = [
        planner.static_estimate_VRAM_usage(
            stock["patch_size"],
            1,
            2,
            stock["architecture"]["network_class_name"],
            stock["architecture"]["arch_kwargs"],
            stock["architecture"]["_kw_requires_import"],
        )
        for planner in (plain, with_options)
    ]
    assert estimates[0] < estimates[1]


def test_planning_again_changes_nothing_and_other_content_is_not_overwritten(small):
    AttentionUNetPlanner(NAME).plan_experiment()
    path = small / "AttentionUNetPlans.json"
    before = path.stat().st_mtime_ns, path.read_text()
    AttentionUNetPlanner(NAME).plan_experiment()
    with pytest.raises(CommandError, match=r"different content .*-overwrite_plans_name"):
        AttentionUNetPlanner(NAME, gate_full_resolution=True).plan_experiment()
    assert (path.stat().st_mtime_ns, path.read_text()) == before


def test_no_workers_of_augmentation_do_not_stop_the_planning(small, monkeypatch):
    expected = AttentionUNetPlanner(NAME).plan_experiment()
    monkeypatch.setenv(WORKERS_VARIABLE, "0")
    assert as_json(AttentionUNetPlanner(NAME).plan_experiment()) == as_json(expected)
    assert os.environ[WORKERS_VARIABLE] == "0"


def test_the_start_of_the_gates_is_written_where_it_is_chosen(small):
    default = AttentionUNetPlanner(NAME).plan_experiment()
    chosen = AttentionUNetPlanner(NAME, plans_name="Other", gate_start="open").plan_experiment()

    def arguments(plans):
        return plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]

    assert "gate_start" not in arguments(default)
    assert arguments(chosen)["gate_start"] == "open"


def test_planners_are_listed_by_name():
    assert list(PLANNERS.values()) == list(PAIRS)
