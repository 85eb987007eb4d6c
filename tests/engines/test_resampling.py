"""Images and logits resampled in torch are those that nnU-Net's own functions give."""

import copy
import pickle

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape as by_nnunet,
)
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling import default_resampling
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from smallest_plans import smallest_plans

from nnunet_attention.cli import prediction_arguments
from nnunet_attention.engines import (
    RESAMPLINGS,
    DeviceConfiguration,
    resampling,
    segmentation_in_image_space,
)
from nnunet_attention.engines.resampling import nearest, resample

CPU = torch.device("cpu")
ISOTROPIC, COARSE_Z, COARSE_Y, COARSE_X = (1, 1, 1), (5, 1, 1), (1, 5, 1), (1, 1, 5)
SHAPES = [
    ((5, 9, 12), (7, 13, 8), ISOTROPIC, ISOTROPIC),
    ((5, 9, 12), (11, 9, 30), COARSE_Z, (2, 0.5, 0.5)),
    ((9, 5, 12), (4, 11, 30), COARSE_Y, (1, 2, 0.5)),
    ((9, 12, 5), (20, 7, 13), COARSE_X, COARSE_X),
    # A 2-D image, a single voxel, no change in one axis, more rows than are computed at once.
    ((1, 20, 31), (1, 40, 13), (999, 1, 1), (999, 1, 2)),
    ((2, 1, 4), (5, 9, 3), ISOTROPIC, ISOTROPIC),
    ((3, 40, 70), (17, 40, 150), ISOTROPIC, ISOTROPIC),
    # Coarse now, fine then; and the other way round.
    ((4, 10, 10), (16, 8, 8), (8, 1, 1), (2, 1, 1)),
    ((16, 10, 10), (4, 8, 8), (1, 1, 1), (4, 1, 1)),
    # Two coarse axes are not resampled on their own.
    ((6, 7, 8), (9, 5, 11), (5, 5, 1), (5, 5, 1)),
]


@pytest.fixture
def generator():
    return np.random.default_rng(4)


@pytest.mark.parametrize("force", [None, False])
@pytest.mark.parametrize("order_z", [0, 1, 3])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize(("old", "new", "current", "wanted"), SHAPES)
def test_images_are_nnunets_within_1e_5(
    old, new, current, wanted, order, order_z, force, generator, one_thread
):
    data = generator.normal(size=(2, *old)).astype(np.float32)
    untouched = data.copy()
    arguments = (new, current, wanted, False, order, order_z, force)
    found = resample(data, *arguments, device=CPU)
    expected = resample_data_or_seg_to_shape(data, *arguments)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(data, untouched)


@pytest.mark.slow
def test_large_images_are_nnunets_within_1e_5(generator, one_thread):
    # Rows, columns and planes in several blocks, and what a spline reaches far away.
    data = generator.normal(size=(1, 40, 200, 150)).astype(np.float32)
    for current in (ISOTROPIC, COARSE_Z):
        arguments = ((60, 150, 210), current, current, False, 3, 0, None)
        found = resample(data, *arguments, device=CPU)
        np.testing.assert_allclose(
            found, resample_data_or_seg_to_shape(data, *arguments), rtol=0, atol=1e-5
        )


def test_half_precision_and_size_stay_as_nnunet_leaves_them(generator):
    data = generator.normal(size=(2, 5, 9, 12)).astype(np.float16)
    arguments = ((7, 13, 8), ISOTROPIC, ISOTROPIC, False, 1)
    found = resample(torch.from_numpy(data), *arguments, device=CPU)
    expected = resample_data_or_seg_to_shape(data, *arguments)
    assert found.dtype == expected.dtype == np.float16
    # Both round to 16 bits, seldom to neighbouring numbers.
    np.testing.assert_allclose(found, expected, rtol=2**-10)
    assert (found == expected).mean() > 0.99
    same = resample(data, (5, 9, 12), ISOTROPIC, ISOTROPIC, device=CPU)
    np.testing.assert_array_equal(same, data)


def test_labels_are_left_to_nnunets_function(generator):
    labels = generator.integers(0, 4, (1, 5, 9, 12)).astype(np.int8)
    arguments = ((7, 13, 8), ISOTROPIC, ISOTROPIC, True, 1)
    np.testing.assert_array_equal(
        resample(labels, *arguments, device=CPU), resample_data_or_seg_to_shape(labels, *arguments)
    )


def test_products_keep_32_bits_where_a_process_has_allowed_fewer(generator):
    data = generator.normal(size=(1, 20, 64, 64)).astype(np.float32)
    arguments = ((30, 80, 50), ISOTROPIC, ISOTROPIC)
    expected = resample_data_or_seg_to_shape(data, *arguments)
    torch.set_float32_matmul_precision("medium")
    try:
        found = resample(data, *arguments, device=CPU)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_nearest_takes_the_voxel_whose_middle_is_nearest():
    data = np.arange(6).reshape(1, 1, 2, 3)
    found = nearest(data, (1, 4, 2), (), ())
    # Of three voxels two: their middles lie at 0.75 and 2.25 voxels from the edge.
    np.testing.assert_array_equal(found[0, 0], [[0, 2], [0, 2], [3, 5], [3, 5]])


class Case:
    """Plans, an image of another spacing with an empty border, and logits for it."""

    def __init__(self, labels, order=None, transpose=(0, 1, 2), spacing=(2.5, 1.4, 0.8)):
        plans = smallest_plans()
        plans["transpose_forward"] = list(transpose)
        plans["transpose_backward"] = np.argsort(transpose).tolist()
        plans["foreground_intensity_properties_per_channel"] = {"0": {}}
        content = plans["configurations"]["3d_fullres"]
        content["normalization_schemes"] = ["ZScoreNormalization"]
        content["use_mask_for_norm"] = [False]
        for name, is_seg, spline in (
            ("data", False, 3),
            ("seg", True, 1),
            ("probabilities", False, 1),
        ):
            content[f"resampling_fn_{name}"] = "resample_data_or_seg_to_shape"
            content[f"resampling_fn_{name}_kwargs"] = {
                "is_seg": is_seg, "order": spline, "order_z": 0, "force_separate_z": None,
            }  # fmt: skip
        self.dataset = {
            "channel_names": {"0": "MR"},
            "labels": labels,
            "file_ending": ".nii.gz",
            **({} if order is None else {"regions_class_order": order}),
        }
        self.plans = PlansManager(plans)
        self.configuration = self.plans.get_configuration("3d_fullres")
        self.labels = self.plans.get_label_manager(self.dataset)
        self.spacing = spacing
        self.generator = np.random.default_rng(6)

    def preprocessed(self, configuration) -> tuple:
        image = np.random.default_rng(5).normal(size=(1, 9, 14, 17)).astype(np.float32)
        image[:, :2] = image[..., :3] = 0
        properties = {"spacing": list(self.spacing)}
        return DefaultPreprocessor(verbose=False).run_case_npy(
            image, None, properties, self.plans, configuration, self.dataset
        )

    def logits(self, dtype=torch.float32) -> tuple:
        data, _, properties = self.preprocessed(self.configuration)
        shape = (self.labels.num_segmentation_heads, *data.shape[1:])
        return torch.from_numpy(self.generator.normal(size=shape)).to(dtype), properties


def segmented(case, logits, properties) -> np.ndarray:
    on_device = DeviceConfiguration(case.configuration, CPU)
    return segmentation_in_image_space(logits, case.plans, on_device, case.labels, properties)


SEVERAL = {"background": 0, "a": 1, "b": 2, "c": 3}
MANY = {"background": 0, **{f"organ {n}": n for n in range(1, 41)}}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("spacing", [(2.5, 1.4, 0.8), (9.0, 1.4, 0.8)])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize(
    ("labels", "order"), [(SEVERAL, None), (MANY, None), (REGIONS, [1, 2, 3]), (REGIONS, [2, 1, 3])]
)
def test_segmentations_are_nnunets(labels, order, transpose, spacing, dtype, one_thread):
    case = Case(labels, order, transpose, spacing)
    logits, properties = case.logits(dtype)
    given = logits.clone()
    managers = (case.plans, case.configuration, case.labels)
    found = segmented(case, logits, properties)
    expected = by_nnunet(logits, *managers, copy.deepcopy(properties), num_threads_torch=1)
    assert found.shape == expected.shape == (9, 14, 17)
    assert found.dtype == expected.dtype
    assert len(np.unique(expected)) > 2
    # In 16 bits two classes are equal here and there, and rounding decides.
    assert (found != expected).sum() <= (0 if dtype == torch.float32 else 2)
    assert torch.equal(given, logits)


def test_of_equal_logits_the_first_class_counts():
    case = Case(SEVERAL)
    logits, properties = case.logits()
    logits[:] = 1
    assert not segmented(case, logits, properties).any()


def test_at_no_time_are_all_classes_held(monkeypatch):
    case = Case(MANY)
    logits, properties = case.logits()
    shapes = []
    resampled = resampling._channel
    monkeypatch.setattr(
        resampling, "_channel", lambda x, **kw: shapes.append(tuple(x.shape)) or resampled(x, **kw)
    )
    monkeypatch.setattr(torch, "empty", lambda *_, **__: pytest.fail("all classes were allocated"))
    segmented(case, logits, properties)
    assert shapes == [tuple(logits.shape[1:])] * 41


@pytest.mark.parametrize("spacing", [(2.5, 1.4, 0.8), (9.0, 1.4, 0.8)])
def test_nnunets_preprocessor_gives_the_same_image(spacing, one_thread, monkeypatch):
    case = Case(SEVERAL, spacing=spacing)
    expected, _, properties = case.preprocessed(case.configuration)
    # Not even asked.
    monkeypatch.setattr(default_resampling, "resample_data_or_seg", None)
    on_device = DeviceConfiguration(case.configuration, CPU)
    found, _, same_properties = case.preprocessed(on_device)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert same_properties == properties


def test_a_cascade_gets_its_labels_from_nnunets_function():
    case = Case(SEVERAL)
    case.configuration.configuration["previous_stage"] = "3d_lowres"
    function = DeviceConfiguration(case.configuration, CPU).resampling_fn_seg
    assert function.func is resample_data_or_seg_to_shape


def test_plans_with_another_function_keep_it():
    case = Case(SEVERAL)
    for name in ("data", "seg", "probabilities"):
        case.configuration.configuration[f"resampling_fn_{name}"] = "resample_torch_fornnunet"
        case.configuration.configuration[f"resampling_fn_{name}_kwargs"] = {"num_threads": 1}
    on_device = DeviceConfiguration(case.configuration, CPU)
    assert on_device.resampling_fn_data.func.__name__ == "resample_torch_fornnunet"
    assert on_device.resampling_fn_seg.func.__name__ == "resample_torch_fornnunet"
    assert not on_device.resamples_logits
    assert DeviceConfiguration(Case(SEVERAL).configuration, CPU).resamples_logits
    logits, properties = case.logits()
    managers = (case.plans, case.configuration, case.labels)
    np.testing.assert_array_equal(
        segmented(case, logits, properties),
        by_nnunet(logits, *managers, properties, num_threads_torch=1),
    )


def test_the_commands_know_what_resamples():
    assert prediction_arguments.RESAMPLINGS == RESAMPLINGS


def test_worker_processes_can_be_sent_the_configuration():
    case = Case(SEVERAL)
    on_device = DeviceConfiguration(case.configuration, CPU)
    again = pickle.loads(pickle.dumps(on_device))
    assert (again.device, again.spacing) == (on_device.device, on_device.spacing)
    assert case.configuration.resampling_fn_data.func is resample_data_or_seg_to_shape
