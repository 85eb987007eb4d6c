import numpy as np
import pytest

from nnunet_attention.maps.limits import grey_limits, map_limits


def test_maps_are_shown_from_the_first_to_the_99th_percentile():
    coefficients = np.arange(101).reshape(1, 1, 101) / 200
    assert map_limits(coefficients) == pytest.approx((0.005, 0.495))


def test_half_precision_gives_the_same_limits():
    coefficients = np.arange(101).reshape(1, 1, 101).astype(np.float16) / 128
    assert map_limits(coefficients) == pytest.approx((1 / 128, 99 / 128))


@pytest.mark.parametrize(
    ("constant", "limits"), [(0.5, (0.4995, 0.5005)), (0, (0, 0.001)), (1, (0.999, 1))]
)
def test_constant_maps_have_a_scale_inside_0_and_1(constant, limits):
    assert map_limits(np.full((3, 4, 5), constant)) == pytest.approx(limits)


def test_large_volumes_have_the_limits_of_a_sample():
    ramp = np.linspace(0, 1, 3000, dtype=np.float32)
    coefficients = np.broadcast_to(ramp, (1, 3000, 3000))
    assert map_limits(coefficients) == pytest.approx((0.01, 0.99), abs=1e-3)


def test_ct_is_shown_in_a_soft_tissue_window_and_other_images_without_their_outliers():
    assert grey_limits(np.array([[[-1000.0, 40, 3000]]])) == (-160, 240)
    ramp = np.arange(1001.0).reshape(1, 1, 1001)
    assert grey_limits(ramp) == pytest.approx((5, 995))


def test_an_image_of_one_value_has_a_scale():
    low, high = grey_limits(np.full((2, 2, 2), 7))
    assert low < 7 < high


def test_a_patch_of_a_2d_model_has_limits_too():
    patch = np.arange(200, dtype=np.float32).reshape(10, 20)
    assert grey_limits(patch) == pytest.approx((0.995, 198.005))
    assert map_limits(patch / 199) == pytest.approx((0.01, 0.99))
