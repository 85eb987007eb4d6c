"""Plans with gates are made anew or converted; the real planning is tried in test_planners."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.plans import plan_or_convert, planning


@pytest.fixture
def folder(tmp_path, monkeypatch, minimal_plans):
    """A data set's folder in nnUNet_preprocessed, with plans."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    folder = tmp_path / "Dataset007_Seven"
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_text(json.dumps(minimal_plans))
    return folder


@pytest.mark.parametrize(
    ("plans_name", "written"), [(None, "Attention_nnUNetPlans"), ("Mine", "Mine")]
)
def test_converted_plans_are_named_after_their_source_unless_told_otherwise(
    folder, plans_name, written
):
    path = plan_or_convert(
        folder.name, source="nnUNetPlans", plans_name=plans_name, gate_start="open"
    )
    assert path == folder / f"{written}.json"
    plans = json.loads(path.read_text())
    assert plans["plans_name"] == written
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert arguments["gate_start"] == "open"


@pytest.mark.parametrize("options", [{"plans_name": "a__b"}, {"source": "../nnUNetPlans"}])
def test_names_that_nnunet_does_not_allow_are_refused(folder, options):
    with pytest.raises(CommandError, match=r"^plans name '.*': nnU-Net allows neither two"):
        plan_or_convert(folder.name, **options)
    assert [path.name for path in folder.iterdir()] == ["nnUNetPlans.json"]


@pytest.mark.parametrize(
    ("planner", "chosen"),
    [
        (None, "AttentionUNetPlanner"),
        ("AttentionResEncUNetPlannerL", "AttentionResEncUNetPlannerL"),
    ],
)
def test_the_planner_is_chosen_by_its_name(folder, monkeypatch, planner, chosen):
    calls = []

    def plan(name, planner_class, **options):
        calls.append((name, planner_class.__name__, options["num_processes"]))
        return {}, "Written"

    monkeypatch.setattr(planning, "plan_dataset", plan)
    path = plan_or_convert(folder.name, planner=planner, num_processes=3)
    assert path == folder / "Written.json"
    assert calls == [(folder.name, chosen, 3)]
