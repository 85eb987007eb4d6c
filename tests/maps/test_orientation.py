import itertools

import numpy as np
import pytest
import SimpleITK

from nnunet_attention.maps.orientation import axis_codes, in_lps, spacing_in_lps

CODES = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*order)
]


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_is_turned_as_simpleitk_turns_it(code):
    volume = np.arange(60).reshape(3, 4, 5)
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing((1.0, 2.0, 3.0))
    # Given an image that is LPS, the one that is `code` shows the same patient.
    turned = SimpleITK.DICOMOrient(image, code)
    properties = {"sitk_stuff": {"direction": turned.GetDirection()}}
    codes = axis_codes(properties)
    assert codes == code
    np.testing.assert_array_equal(in_lps(SimpleITK.GetArrayFromImage(turned), codes), volume)
    assert spacing_in_lps(turned.GetSpacing()[::-1], codes) == (3.0, 2.0, 1.0)


def test_nibabels_affine_says_the_same_as_simpleitks_direction():
    # x grows to the patient's right, y to the back, z to the feet, in nibabel's world (R, A, S).
    properties = {"nibabel_stuff": {"original_affine": np.diag([1.0, -2.0, -3.0, 1.0])}}
    assert axis_codes(properties) == "RPI"
    volume = np.arange(60).reshape(3, 4, 5)
    np.testing.assert_array_equal(in_lps(volume, "RPI"), volume[::-1, :, ::-1])


def test_colours_stay_last():
    image = np.arange(180).reshape(3, 4, 5, 3)
    assert in_lps(image, "SRP").shape == (5, 3, 4, 3)


def test_without_an_orientation_nothing_is_turned():
    volume = np.arange(60).reshape(3, 4, 5)
    assert axis_codes({"spacing": (999, 1, 1)}) is None
    assert axis_codes({"sitk_stuff": {"direction": (1.0, 0.0, 0.0, 1.0)}}) is None
    assert in_lps(volume, None) is volume
    assert spacing_in_lps((3.0, 2.0, 1.0), None) == (3.0, 2.0, 1.0)
