"""model.json says all, in the form that its schema promises."""

import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator
from portable_models import INTENSITIES, REGIONS, dataset_with, model_of, plans_with

from nnunet_attention.errors import CommandError
from nnunet_attention.portable.description import describe_model
from nnunet_attention.portable.readme import readme_of

SCHEMA = json.loads(
    files("nnunet_attention.portable").joinpath("model.schema.json").read_text(encoding="utf-8")
)
# What `describe_model` leaves to the export, which knows files.
OF_FILES = {
    "patch_multiple_of": None,
    "input": {"name": "image", "type": "float32", "channels": 2, "grid": [4, 8, 16]},
    "outputs": [{"name": "logits", "type": "float32", "channels": 3, "grid": [4, 8, 16]}],
    "networks": [
        {
            "fold": "0",
            "file": "fold_0.onnx",
            "sha256": "0" * 64,
            "program": None,
            "largest_difference": {"logits": 1e-6},
            "largest_logit": 3.5,
        }
    ],
    "checked": {"patches": 2, "seed": 0},
    "precision": "f32",
}


def described(plans=None, dataset=None) -> dict:
    content = describe_model(model_of(plans or plans_with(), dataset or dataset_with()))
    return json.loads(json.dumps(content))


def errors(content: dict) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(content)]


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("plans", "dataset"),
    [
        ({}, {}),
        ({"variant": "plain 2d"}, {}),
        ({"transpose": (2, 0, 1)}, {"labels": REGIONS, "order": [1, 2, 3]}),
        ({"reader": "NaturalImage2DIO"}, {"ending": ".png"}),
    ],
)
def test_what_is_described_is_what_the_schema_promises(plans, dataset):
    content = described(plans_with(**plans), dataset_with(**dataset))
    assert errors(content | OF_FILES) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format_version", 2),
        ("activation", "tanh"),
        ("transpose_forward", [0, 1, 1]),
        ("patch_size", [4, 8.5, 16]),
        ("labels", {"organ": 1}),
        ("networks", []),
        ("another", 1),
    ],
)
def test_the_schema_refuses_what_is_wrong(name, value):
    assert errors({**described(), **OF_FILES, name: value})


def test_a_normalisation_with_numbers_needs_them():
    content = described() | OF_FILES
    del content["channels"][1]["normalization"]["intensities"]
    assert errors(content) == ["'intensities' is a required property"]


def test_the_numbers_are_those_of_plans_and_data_set():
    content = described(plans_with(transpose=(2, 0, 1), masks=(True, False), spacing=(3, 2, 1)))
    assert content["channels"] == [
        {"name": "T1", "normalization": {"scheme": "ZScoreNormalization", "use_mask": True}},
        {
            "name": "CT",
            "normalization": {
                "scheme": "CTNormalization", "use_mask": False, "intensities": INTENSITIES,
            },
        },
    ]  # fmt: skip
    assert content["transpose_forward"] == [2, 0, 1]
    assert content["transpose_backward"] == [1, 2, 0]
    assert content["spacing_mm"] == [3.0, 2.0, 1.0]
    assert content["patch_size"] == [4, 8, 16]
    assert content["mirroring_axes"] == [0, 1, 2]
    assert (content["step"], content["gaussian_sigma"]) == (0.5, 0.125)
    rules = {"function": "resample_data_or_seg_to_shape", "order_z": 0, "force_separate_z": None,
             "anisotropy_threshold": 3.0}  # fmt: skip
    assert content["resampling"] == {
        "images": {**rules, "order": 3},
        "logits": {**rules, "order": 1},
    }
    assert content["activation"] == "softmax"
    assert content["labels"] == {"background": 0, "organ": 1, "tumour": 2}
    assert content["regions"] is content["previous_stage"] is content["ignore_label"] is None


def test_regions_stand_in_the_order_of_the_outputs_with_what_they_are_drawn_as():
    content = described(dataset=dataset_with(labels={**REGIONS, "ignore": 4}, order=[3, 1, 2]))
    assert content["activation"] == "sigmoid"
    assert content["regions"] == [
        {"name": "whole", "labels": [1, 2, 3], "drawn_as": 3},
        {"name": "core", "labels": [2, 3], "drawn_as": 1},
        {"name": "enhancing", "labels": [3], "drawn_as": 2},
    ]
    assert content["ignore_label"] == 4


def test_where_the_plans_are_silent_nnunets_defaults_stand():
    plans = plans_with()
    plans["configurations"]["3d_fullres"]["resampling_fn_data_kwargs"] = {"is_seg": False}
    assert described(plans)["resampling"]["images"] == {
        "function": "resample_data_or_seg_to_shape", "order": 3, "order_z": 0,
        "force_separate_z": False, "anisotropy_threshold": 3.0,
    }  # fmt: skip


def test_another_function_is_named_with_its_arguments():
    plans = plans_with()
    configuration = plans["configurations"]["3d_fullres"]
    configuration["resampling_fn_probabilities"] = "resample_torch_fornnunet"
    configuration["resampling_fn_probabilities_kwargs"] = {"mode": "linear"}
    content = described(plans)
    assert content["resampling"]["logits"] == {
        "function": "resample_torch_fornnunet", "arguments": {"mode": "linear"},
    }  # fmt: skip
    assert errors(content | OF_FILES) == []


def test_plans_of_another_number_of_channels_are_refused():
    model = model_of(plans_with(), dataset_with())
    model.configuration_manager.configuration["normalization_schemes"] = ["NoNormalization"]
    with pytest.raises(
        CommandError, match="has 2 channels, but the plans have normalization_schemes for 1"
    ):
        describe_model(model)


def test_plans_that_lack_something_are_refused_by_its_name():
    model = model_of(plans_with(), dataset_with())
    del model.plans_manager.plans["foreground_intensity_properties_per_channel"]["1"]["std"]
    with pytest.raises(CommandError, match="'std' is missing"):
        describe_model(model)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("resampling_fn_data_kwargs", [1, 2, 3], "not names and values"),
        ("resampling_fn_data_kwargs", {"order": "3"}, "have '3' for order of resampling_fn_data"),
        ("resampling_fn_data_kwargs", {"force_separate_z": 7}, "have 7 for force_separate_z"),
        ("spacing", ["wide", 2, 1], "cannot be described: ValueError"),
    ],
)
def test_damaged_plans_are_refused_in_one_line(name, value, message):
    model = model_of(plans_with(), dataset_with())
    model.configuration_manager.configuration[name] = value
    with pytest.raises(CommandError, match=message) as raised:
        describe_model(model)
    assert "\n" not in str(raised.value)


def test_names_that_cannot_be_written_are_refused():
    model = model_of(plans_with(), dataset_with(channels=("T1", "C\ud800T")))
    with pytest.raises(CommandError, match="contains characters that cannot be written; rename it"):
        describe_model(model)


def test_normalization_within_a_mask_says_which_voxels_stay():
    plans = plans_with(masks=(True, False))
    text = readme_of({**described(plans), **OF_FILES}, "program")
    assert (
        "| 0 | T1 | (x - mean) / std, of the voxels that are not 0 in some channel, holes filled; "
        "voxels outside stay as they are |" in text
    )


def test_names_keep_to_their_cells_and_endings_to_their_words():
    dataset = dataset_with(channels=("T1\n# a", "C|T"), ending=".nii; rm x")
    content = {**described(dataset=dataset), **OF_FILES}
    text = readme_of(content, "program")
    assert "| 0 | T1 # a | " in text
    assert "| 1 | C\\|T | " in text
    assert "python segment.py 'segmentation.nii; rm x' 'case_0000.nii; rm x'" in text
